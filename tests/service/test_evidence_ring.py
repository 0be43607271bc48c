"""The folder of the pictures: bounded, the newest kept, whole whatever happens."""

import dataclasses
import os
from pathlib import Path

import pytest
from pictures import MIB, Rejects, bytes_in, damaged_in, image_of

from service.evidence.budget import Saved
from service.evidence.item import EvidenceError, Item
from service.evidence.picture import jpeg
from service.evidence.ring import Ring


def made(rejects: Rejects, data: bytes, **more: object) -> tuple[Item, bytes]:
    message = rejects.message()
    item = Item(
        id=message["id"],
        line=message["line"],
        decision=message,
        label=None,
        labels=("ok", "scratch", "stain"),
        picture_seq=1,
        captured_at=message["ts"],
        width=320,
        height=240,
        roi=None,
        size_bytes=len(data),
        saved=Saved(10, 1),
    )
    return dataclasses.replace(item, **more), data  # type: ignore[arg-type]  # handed on as it came


def opened(path: Path, mib: int = 4) -> Ring:
    ring = Ring(path, mib * MIB)
    ring.open()
    return ring


def test_it_is_never_larger_than_it_may_be_and_keeps_the_newest(tmp_path: Path) -> None:
    ring, rejects = opened(tmp_path), Rejects()
    data = jpeg(image_of(1), 90)
    ids = []
    for _ in range(150):
        entry = made(rejects, data)
        ids.append(entry[0].id)
        ring.add([entry])
        assert bytes_in(tmp_path) <= 4 * MIB
        assert ring.taken_bytes == bytes_in(tmp_path)
    kept = [item.id for item in ring.items()]
    assert 20 < len(kept) < 150
    assert kept == ids[::-1][: len(kept)]
    assert damaged_in(tmp_path) == []


def test_a_restart_goes_on_with_what_is_there(tmp_path: Path) -> None:
    ring, rejects = opened(tmp_path), Rejects()
    data = jpeg(image_of(1), 90)
    ring.add([made(rejects, data) for _ in range(10)])
    before = list(ring.items())
    ring.close()
    again = opened(tmp_path)
    assert list(again.items()) == before
    assert again.taken_bytes == bytes_in(tmp_path)


def test_a_smaller_ring_lets_the_oldest_go_at_the_start(tmp_path: Path) -> None:
    ring, rejects = opened(tmp_path, 8), Rejects()
    data = jpeg(image_of(1), 90)
    for _ in range(90):
        ring.add([made(rejects, data)])
    ids = [item.id for item in ring.items()]
    ring.close()
    smaller = [item.id for item in opened(tmp_path, 4).items()]
    assert bytes_in(tmp_path) <= 4 * MIB
    assert smaller == ids[: len(smaller)]


@pytest.mark.parametrize(
    "half", ["jpg alone", "json alone", "jpg.tmp", "json.tmp", "empty jpg", "short jpg", "no json"]
)
def test_what_is_half_written_is_removed_at_the_start(tmp_path: Path, half: str) -> None:
    ring, rejects = opened(tmp_path), Rejects()
    data = jpeg(image_of(1), 90)
    ring.add([made(rejects, data), made(rejects, data)])
    newest, sound = list(ring.items())
    ring.close()
    picture = tmp_path / "line1" / f"{newest.id}.jpg"
    text = picture.with_suffix(".json")
    match half:
        case "jpg alone":
            text.unlink()
        case "json alone":
            picture.unlink()
        case "jpg.tmp":
            picture.rename(f"{picture}.tmp")
        case "json.tmp":
            text.rename(f"{text}.tmp")
        case "empty jpg":
            os.truncate(picture, 0)
        case "short jpg":
            os.truncate(picture, 5000)
        case _:
            text.write_text('{"schema": ')
    stranger = tmp_path / "line1" / "notes.txt"
    stranger.write_text("not ours")
    again = opened(tmp_path)
    assert list(again.items()) == [sound]
    assert damaged_in(tmp_path) == []
    assert stranger.exists()


def test_a_label_is_kept_and_taken_back(tmp_path: Path) -> None:
    ring, rejects = opened(tmp_path), Rejects()
    ring.add([made(rejects, jpeg(image_of(1), 90))])
    (item,) = ring.items()
    assert ring.relabel(item.id, "stain").label == "stain"
    ring.close()
    ring = opened(tmp_path)
    (again,) = ring.items()
    assert (again.label, again.shown_label) == ("stain", "stain")
    assert dataclasses.replace(again, label=None) == item
    assert ring.relabel(item.id, None).shown_label == "scratch"
    assert ring.taken_bytes == bytes_in(tmp_path)


@pytest.mark.parametrize("label", ["dent", "", "../x"])
def test_a_label_that_the_model_does_not_know_is_refused(tmp_path: Path, label: str) -> None:
    ring, rejects = opened(tmp_path), Rejects()
    ring.add([made(rejects, jpeg(image_of(1), 90))])
    (item,) = ring.items()
    with pytest.raises(EvidenceError, match="choose one of ok, scratch, stain"):
        ring.relabel(item.id, label)


@pytest.mark.parametrize("item_id", ["", "../../etc/passwd", "01900000-0000-7000-8000-00000000ffff", "/etc/passwd"])
def test_an_id_that_is_not_there_leads_nowhere(tmp_path: Path, item_id: str) -> None:
    ring, rejects = opened(tmp_path), Rejects()
    ring.add([made(rejects, jpeg(image_of(1), 90))])
    assert ring.get(item_id) is None
    assert ring.picture(item_id) is None
    with pytest.raises(EvidenceError, match="not kept any more"):
        ring.relabel(item_id, "ok")


def test_one_edgecls_has_it(tmp_path: Path) -> None:
    ring = opened(tmp_path)
    with pytest.raises(EvidenceError, match=r"another edgecls keeps its pictures in .*evidence\.path"):
        opened(tmp_path)
    ring.close()
    opened(tmp_path).close()


def test_a_full_disk_keeps_what_it_has_and_lets_the_oldest_go_for_the_newest(small_disk: Path) -> None:
    """The disk is smaller than the ring: what is left to others stays free, and the newest are kept."""
    ring, rejects = Ring(small_disk / "evidence", 64 * MIB, 2 * MIB), Rejects()
    ring.open()
    data = jpeg(image_of(1), 90)
    ids = []
    for _ in range(300):
        entry = made(rejects, data)
        ids.append(entry[0].id)
        ring.add([entry])
        seen = os.statvfs(small_disk)
        assert seen.f_bavail * seen.f_frsize >= 2 * MIB
    kept = [item.id for item in ring.items()]
    assert 10 < len(kept) < 300
    assert kept == ids[::-1][: len(kept)]
    assert damaged_in(small_disk) == []


def test_without_room_nothing_is_kept_and_nothing_leaves(small_disk: Path) -> None:
    rejects = Rejects()
    data = jpeg(image_of(1), 90)
    ring = Ring(small_disk / "evidence", 64 * MIB, 7 * MIB)
    ring.open()
    with pytest.raises(OSError, match="No space left"):
        ring.add([made(rejects, data) for _ in range(20)])
    ring.add([made(rejects, data)])
    assert ring.count == 1
