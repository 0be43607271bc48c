"""What the status page is made of, each on its own: the shift, a copy of a frame, the log of what is refused."""

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge.classification import Classification
from edge.decision import Decision, Evidence, Ruling, Verdict
from edge.frame import Frame
from service.glimpse import LONGEST, Glimpse, Sight
from service.page.refusals import SENTENCES, Refusals
from service.page.shift import Shift, shift_of

SHIFTS = ["14:00", "06:00", "22:00"]
HOUR_S = 3600


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(
    ("now", "since", "until"),
    [
        ("2026-11-22 06:00", "2026-11-22 06:00", "2026-11-22 14:00"),
        ("2026-11-22 13:59", "2026-11-22 06:00", "2026-11-22 14:00"),
        ("2026-11-22 23:00", "2026-11-22 22:00", "2026-11-23 06:00"),
        ("2026-11-23 01:00", "2026-11-22 22:00", "2026-11-23 06:00"),
        ("2026-12-31 23:00", "2026-12-31 22:00", "2027-01-01 06:00"),
    ],
)
def test_a_shift_goes_by_the_clock_on_the_wall(now: str, since: str, until: str) -> None:
    assert shift_of(at(now), SHIFTS) == (at(since), at(until))


def test_a_single_shift_is_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert shift_of(at("2026-03-29 12:00"), ["00:00"]) == (at("2026-03-29 00:00"), at("2026-03-30 00:00"))
        since_s, until_s = shift_of(at("2026-03-29 12:00"), ["00:00"])
        assert until_s - since_s == 23 * HOUR_S  # the clocks go forward
    finally:
        monkeypatch.undo()
        time.tzset()


def decision(when_s: float, verdict: Verdict = "reject", label: str = "scratch", line: str = "line1") -> Decision:
    evidence = Evidence(Classification(("ok", label), (0.1, 0.9)), 1, 1, 10, 10, None, 0.1, 0.1)
    return Decision(line, Ruling(verdict, evidence), int(when_s * 1e9), 1.0)


def test_decisions_are_counted_by_shift_and_kept(tmp_path: Path) -> None:
    path, now_s = tmp_path / "shift.json", at("2026-11-22 13:58")
    shift = Shift(path, SHIFTS, now_s)
    shift.save()
    assert not path.exists()  # there is nothing to keep
    for verdict, label in (
        ("reject", "Kratzer"),
        ("reject", "划痕"),
        ("reject", "划痕"),
        ("review", "ok"),
        ("pass", "ok"),
    ):
        shift.count(decision(now_s, verdict, label))  # type: ignore[arg-type]  # a Literal, from a parameter
    this, before = shift.of("line1", now_s)
    assert this.verdicts == {"reject": 3, "review": 1, "pass": 1}
    assert this.defects.most_common() == [("划痕", 2), ("Kratzer", 1)]
    assert before.verdicts == {}
    shift.save()
    again = Shift(path, SHIFTS, now_s + 60)
    assert again.of("line1", now_s + 60)[0] == this
    again.count(decision(now_s + 180))  # the next shift
    assert [counted.verdicts["reject"] for counted in again.of("line1", now_s + 180)] == [1, 3]
    later = now_s + 24 * HOUR_S
    assert [counted.verdicts["reject"] for counted in again.of("line1", later)] == [0, 0]
    assert Shift(path, SHIFTS, now_s + 180).of("line1", now_s + 180)[1] == this  # restarted after the change of shifts


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "edgecls/shift/1"}', '{"schema": 1, "since_s": {}}'])
def test_a_damaged_file_begins_the_shift_anew(text: str, tmp_path: Path) -> None:
    path = tmp_path / "shift.json"
    path.write_text(text)
    assert Shift(path, SHIFTS, time.time()).of("line1", time.time())[0].verdicts == {}


def test_a_disk_that_takes_nothing_is_lived_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "none/shift.json"
    shift = Shift(path, SHIFTS, time.time())
    shift.count(decision(time.time()))
    shift.save()
    shift.save()
    assert caplog.text.count("cannot be written") == 1
    path.parent.mkdir()
    shift.save()
    assert path.exists()


def frame(height: int, width: int) -> Frame:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 200
    return Frame("line1", 0, image, 7)


@pytest.mark.parametrize(
    ("height", "width", "small"),
    [
        (240, 320, (240, 320)),
        (720, 1280, (360, 640)),
        (1081, 1921, (360, 640)),
        (4000, 10, (800, 2)),
        (2, 8000, (1, 888)),
    ],
)
def test_a_copy_is_small_and_shows_the_same(height: int, width: int, small: tuple[int, int]) -> None:
    glimpse, seen = Glimpse(), list[Sight]()
    original = frame(height, width)
    glimpse.take(original)  # nobody has asked
    glimpse.ask(seen.append)
    glimpse.take(original)
    glimpse.take(original)
    (sight,) = seen
    assert sight.image.shape == (*small, 3)
    assert max(sight.image.shape) <= LONGEST
    assert (sight.width, sight.height, sight.captured_at_ns) == (width, height, 7)
    assert not np.shares_memory(sight.image, original.image)
    assert sight.image[0, 0, 0] == 200
    assert sight.image[-1, -1, 0] == 0


def test_who_asks_from_another_thread_gets_a_frame_that_was_inspected_after_it() -> None:
    glimpse, seen, asked = Glimpse(), list[int](), threading.Event()

    def ask() -> None:
        glimpse.ask(lambda sight: seen.append(sight.captured_at_ns))
        asked.set()

    threading.Thread(target=ask).start()
    assert asked.wait(10)
    glimpse.take(Frame("line1", 5, np.zeros((4, 4, 3), np.uint8), 50))
    assert seen == [50]


def test_a_thousand_refusals_take_a_handful_of_sentences(caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    noted = Refusals(lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            noted.note("10.0.0.7", "a wrong password")
        assert len(caplog.records) == SENTENCES
        now[0] += 61
        noted.tell()
    assert noted.count == 1000
    assert caplog.messages[-1] == f"page: refused besides, within a minute: {1000 - SENTENCES} times a wrong password"
