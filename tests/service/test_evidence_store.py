"""The thread `evidence`: what is kept of what it is offered, how often it writes, and what it says when it cannot."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from delivery import until
from fakes import FakeClock
from pictures import Rejects, bytes_in, damaged_in, decoded, image_of, settings
from slow_disk import fill

from edge.clock import SystemClock
from service.evidence import store as store_module
from service.evidence.budget import HOUR_NS, Budget
from service.evidence.store import OFFERED, EvidenceSettings, EvidenceStore


def started(settings: EvidenceSettings, publish: Callable[[str, bytes], None] | None = None) -> EvidenceStore:
    store = EvidenceStore(settings, SystemClock(), publish)
    store.start()
    return store


def is_idle(store: EvidenceStore) -> bool:
    return not store._offered


def test_a_reject_is_kept_with_its_picture(tmp_path: Path) -> None:
    store, rejects = started(settings(tmp_path)), Rejects(roi=(10, 20, 100, 50))
    image = np.full((240, 320, 3), (20, 120, 220), np.uint8)
    message = rejects.message()
    store.offer(message, rejects.still(image, seq=7))
    store.stop(10)
    (item,) = store.items()
    assert item.decision == message
    assert (item.id, item.line, item.label, item.shown_label) == (message["id"], "line1", None, "scratch")
    assert (item.picture_seq, item.width, item.height, item.roi) == (7, 320, 240, (10, 20, 100, 50))
    assert item.labels == ("ok", "scratch", "stain")
    data = store.picture(item.id)
    assert data is not None
    assert len(data) == item.size_bytes
    shown = decoded(data)
    assert np.abs(shown.astype(int) - image).max() < 8
    small = store.small(item.id)
    assert small is not None
    assert decoded(small).shape == (240, 320, 3)
    assert store.counts == {"kept": 1, "unkept": 0, "items": 1, "bytes": bytes_in(tmp_path)}


def test_items_are_listed_by_line_and_page(tmp_path: Path) -> None:
    store = started(settings(tmp_path))
    top, bottom = Rejects("top"), Rejects("bottom")
    for number in range(6):
        for rejects in (top, bottom):
            assert until(lambda: not store._offered, 5)
            store.offer(rejects.message(), rejects.still(image_of(number)))
    store.stop(10)
    ids = [item.id for item in store.items()]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 12
    of_top = store.items("top", limit=4)
    assert [item.line for item in of_top] == ["top"] * 4
    rest = store.items("top", before=of_top[-1].id)
    assert len(rest) == 2
    assert rest[0].id < of_top[-1].id


def test_changes_are_told(tmp_path: Path) -> None:
    store, rejects = started(settings(tmp_path)), Rejects()
    called = threading.Event()
    remove = store.listen(called.set)
    before = store.changes
    store.offer(rejects.message("review"), rejects.still(image_of(1)))
    assert called.wait(10)
    assert store.wait_for_change(before, 10) > before
    assert until(lambda: bool(store.items()), 10)
    (item,) = store.items()
    called.clear()
    now = store.changes
    store.relabel(item.id, "ok")
    assert called.is_set()
    assert store.wait_for_change(now, 0) == now + 1
    remove()
    called.clear()
    store.relabel(item.id, None)
    assert not called.is_set()
    store.stop(10)


def test_when_too_many_come_at_once_the_newcomer_is_not_kept(tmp_path: Path) -> None:
    store, rejects = EvidenceStore(settings(tmp_path), SystemClock()), Rejects()  # the thread has not begun yet
    for number in range(OFFERED):
        assert store.wants("line1")
        store.offer(rejects.message(), rejects.still(image_of(number, 160, 120)))
    assert not store.wants("line1")
    store.offer(rejects.message(), None)
    store.start()
    store.stop(10)
    assert store.counts["kept"] == OFFERED
    assert dict(store.unkept) == {("line1", "busy"): 1}


def test_buffers_come_back(tmp_path: Path) -> None:
    store, rejects = started(settings(tmp_path)), Rejects()
    for number in range(30):
        assert until(lambda: rejects.stills._made < 8 or bool(rejects.stills._free), 5)
        store.offer(rejects.message(), rejects.still(image_of(number)))
    store.stop(10)
    assert store.counts["kept"] == 30
    assert len(rejects.stills._free) == rejects.stills._made


def test_writes_stay_within_the_hour_and_over_restarts(tmp_path: Path) -> None:
    clock, rejects, image = FakeClock(), Rejects(), image_of(1, 64, 48)
    for _ in range(7):  # seven runs of half an hour, a reject every five seconds
        store = EvidenceStore(settings(tmp_path, per_hour=100), clock)
        store.start()
        for _ in range(360):
            wanted = store.wants("line1")
            store.offer(rejects.message(), rejects.still(image) if wanted else None)
            assert until(partial(is_idle, store), 5)
            clock.now += 5_000_000_000
        store.stop(10)
    kept = EvidenceStore(settings(tmp_path), clock)
    kept._ring.open()
    spent = sorted(item.saved.at_ns for item in kept.items(limit=100_000))
    assert 260 <= len(spent) <= 290  # 25 at once, and 75 an hour
    for start in spent:
        assert sum(start <= at < start + HOUR_NS for at in spent) <= 100


@pytest.mark.parametrize("per_hour", [1, 2, 7, 600])
def test_a_budget_is_never_exceeded_in_any_hour(per_hour: int) -> None:
    clock = FakeClock()
    budget = Budget(per_hour, clock)
    spent: list[int] = []
    for _ in range(20_000):
        if budget.has_one():
            budget.spend()
            spent.append(clock.now)
        clock.now += 2_000_000_000
    assert spent
    for first in range(len(spent)):
        assert sum(at < spent[first] + HOUR_NS for at in spent[first:]) <= per_hour
    hours = 20_000 * 2 / 3600
    assert len(spent) >= per_hour * hours * (0.7 if per_hour > 2 else 0)


def test_a_clock_that_is_set_back_does_not_end_it() -> None:
    clock = FakeClock()
    budget = Budget(100, clock)
    while budget.has_one():
        saved = budget.spend()
    clock.now -= 100 * HOUR_NS
    again = Budget(100, clock)
    again.resume(saved, 0)
    assert not again.has_one()
    clock.now += HOUR_NS
    assert again.has_one()


def test_a_disk_that_takes_nothing_is_said_once_and_used_again(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    clock, rejects, told = FakeClock(), Rejects(), list[str]()
    filler = fill(small_disk)
    store = EvidenceStore(settings(small_disk / "evidence"), clock, on_trouble=lambda: told.append(store.problem))
    store.start()
    for _ in range(5):
        store.offer(rejects.message(), rejects.still(image_of(1)))
        assert until(lambda: not store._offered, 5)
        clock.now += 11_000_000_000
        assert until(lambda: not store._gathered, 5)
    assert "No space left on device" in store.problem
    assert not store.counts["kept"]
    assert store.counts["unkept"] == 5
    filler.unlink()
    clock.now += 11_000_000_000
    assert store.wants("line1")
    store.offer(rejects.message(), rejects.still(image_of(1)))
    store.stop(10)
    assert store.problem == ""
    assert store.counts["items"] == 1
    errors = [record.message for record in caplog.records if "not kept" in record.message]
    assert len(errors) == 1
    assert [bool(problem) for problem in told] == [True, False]
    assert damaged_in(small_disk) == []


def test_a_disk_that_has_room_again_is_noticed_without_another_reject(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_NS", 100_000_000)
    rejects, filler = Rejects(), fill(small_disk)
    store = EvidenceStore(settings(small_disk / "evidence"), SystemClock())
    store.start()
    store.offer(rejects.message(), rejects.still(image_of(1)))
    assert until(lambda: bool(store.problem), 5)
    assert not until(lambda: not store.problem, 1)
    filler.unlink()
    assert until(lambda: not store.problem, 5)
    store.stop(10)
    assert store.counts["items"] == 0
    assert [file.name for file in (small_disk / "evidence").iterdir() if file.is_file()] == []


def test_a_folder_that_can_be_made_again_is_noticed_without_another_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RETRY_NS", 100_000_000)
    (tmp_path / "file").write_text("")
    store = EvidenceStore(settings(tmp_path / "file" / "evidence"), SystemClock())
    store.start()
    assert until(lambda: bool(store.problem), 5)
    (tmp_path / "file").unlink()
    assert until(lambda: not store.problem, 5)
    assert store.wants("line1")
    store.stop(10)


def test_a_folder_that_cannot_be_made_is_lived_with(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store, rejects = started(settings(tmp_path / "file" / "evidence")), Rejects()
    assert until(lambda: bool(store.problem), 5)
    assert "Not a directory" in store.problem
    assert not store.wants("line1")
    store.offer(rejects.message(), None)
    assert dict(store.unkept) == {("line1", "disk"): 1}
    assert store.items() == []
    store.stop(10)


def test_nothing_is_kept_when_nothing_is_to_be(tmp_path: Path) -> None:
    store, rejects = started(settings(tmp_path / "evidence", mib=0)), Rejects()
    assert not store.wants("line1")
    store.offer(rejects.message(), None)
    store.stop(1)
    assert store.counts == {"kept": 0, "unkept": 0, "items": 0, "bytes": 0}
    assert not (tmp_path / "evidence").exists()


def test_small_pictures_go_out_once_a_second(tmp_path: Path) -> None:
    sent: list[tuple[str, bytes]] = []
    store = started(settings(tmp_path, publish=True), lambda line, data: sent.append((line, data)))
    rejects = Rejects()
    messages = [rejects.message() for _ in range(3)]
    for message in messages:
        store.offer(message, rejects.still(image_of(1, 640, 480)))
    store.stop(10)
    ((line, data),) = sent
    assert line == "line1"
    image = decoded(data)
    assert image.shape == (240, 320, 3)
    assert f'"id":"{messages[0]["id"]}"'.encode() in data
    assert store.counts["kept"] == 3
