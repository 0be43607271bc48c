"""Pictures that a machine drops into a folder: each once, when it is complete."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.clock import SystemClock
from edge.errors import BadFrameError, SourceError, SourceNotUsableError
from edge.frame import Frame
from edge.sources import ImagesSettings, Source, make_source, watch


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


def watching(drop: Path, pattern: str = "*.png") -> Source:
    source = make_source("line1", ImagesSettings(str(drop / pattern), drop.parent / "record"), SystemClock())
    source.open()
    return source


def picture(value: int) -> bytes:
    return cv2.imencode(".png", np.full((24, 32, 3), value, np.uint8))[1].tobytes()


def next_frame(source: Source, timeout_s: float = 20) -> Frame:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            frame = source.read()
        except (TimeoutError, SourceError):
            continue
        assert frame is not None
        return frame
    raise AssertionError("no frame")


def nothing_comes(source: Source, seconds: float = 1.5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with pytest.raises((TimeoutError, SourceError)):
            source.read()
    return True


def test_each_once_the_oldest_first_also_after_a_restart(drop: Path) -> None:
    for number, name in enumerate(("c.png", "a.png", "b.png", ".hidden.png", "d.txt")):
        (drop / name).write_bytes(picture(number))
        os.utime(drop / name, (1000 + number, 1000 + number))
    (drop / "folder.png").mkdir()
    source = watching(drop)
    frames = [next_frame(source) for _ in range(3)]
    assert [(frame.seq, Path(frame.file or "").name) for frame in frames] == [(0, "c.png"), (1, "a.png"), (2, "b.png")]
    source.close()
    source = watching(drop)
    (drop / "e.png").write_bytes(picture(9))
    assert next_frame(source).image[0, 0, 0] == 9
    (drop / "a.png").write_bytes(picture(7))
    assert next_frame(source).image[0, 0, 0] == 7, "another picture under an old name is another one"
    assert nothing_comes(source)
    source.close()


def test_what_was_not_looked_at_to_the_end_comes_again(drop: Path) -> None:
    (drop / "a.png").write_bytes(picture(1))
    assert next_frame(watching(drop)).seq == 0  # it is not closed: killed
    assert next_frame(watching(drop)).seq == 0


def test_a_file_that_is_being_written_is_waited_for(drop: Path) -> None:
    whole = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    source = watching(drop)
    with (drop / "slow.png").open("wb") as file:
        for part in (whole[:100], whole[100:5000], whole[5000:]):
            assert nothing_comes(source, 0.8)
            file.write(part)
            file.flush()
    assert next_frame(source).image.shape == (64, 64, 3)
    source.close()


def test_a_damaged_one_is_told_once(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "GIVEN_UP_S", 1.0)
    (drop / "bad.png").write_bytes(picture(1)[:-20])
    (drop / "empty.png").touch()
    source = watching(drop)
    told: list[str] = []
    while len(told) < 2:
        try:
            source.read()
        except BadFrameError as error:
            told.append(str(error))
        except (TimeoutError, SourceError):
            continue
    assert all("is damaged or not an image" in text for text in told)
    assert nothing_comes(source)
    source.close()


def test_a_folder_that_is_not_there_is_waited_for(drop: Path) -> None:
    source = watching(drop / "network")
    with pytest.raises(SourceError, match=r"network cannot be read \(No such file or directory\): is it mounted\?"):
        source.read()
    (drop / "network").mkdir()
    (drop / "network" / "a.png").write_bytes(picture(3))
    assert next_frame(source).seq == 0
    source.close()


def test_a_name_that_is_not_utf_8(drop: Path) -> None:
    name = os.fsencode(drop) + b"/teil-\xe4\xff.png"
    Path(os.fsdecode(name)).write_bytes(picture(5))
    source = watching(drop)
    frame = next_frame(source)
    assert frame.file is not None
    assert frame.file.encode().endswith("/teil-\ufffd\ufffd.png".encode())
    source.close()
    plain = make_source("line1", ImagesSettings(str(drop / "*.png")), SystemClock())
    plain.open()
    found = plain.read()
    assert found is not None
    assert found.file == frame.file


def test_a_record_that_cannot_be_written(drop: Path) -> None:
    source = make_source("line1", ImagesSettings(str(drop), Path("/proc/no/record")), SystemClock())
    with pytest.raises(SourceNotUsableError, match="/proc/no/record cannot be written, which is to say what was"):
        source.open()


def test_a_record_that_breaks_off_and_one_that_is_mostly_gone(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_SPARE", 10)
    (drop / "a.png").write_bytes(picture(1))
    source = watching(drop)
    next_frame(source)
    source.close()
    record = drop.parent / "record"
    kept = record.read_bytes()
    assert len(kept) == 8
    record.write_bytes(os.urandom(8 * 100) + kept + b"abc")
    source = watching(drop)
    assert nothing_comes(source, 0.6)
    source.close()
    assert record.read_bytes() == kept


def test_what_is_inspected_while_the_folder_is_looked_at_is_not_inspected_again(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        (drop / f"{number:03d}.png").write_bytes(picture(number % 256))
        os.utime(drop / f"{number:03d}.png", (1000 + number, 1000 + number))
    monkeypatch.setattr(watch, "TURN_S", 0.001)  # a look takes many turns
    monkeypatch.setattr(watch, "SETTLED_S", 0.0)
    source = watching(drop)
    names = [next_frame(source).file for _ in range(500)]
    assert len(set(names)) == 500
    assert nothing_comes(source, 1)
    source.close()


@pytest.mark.slow
def test_a_million_files(drop: Path) -> None:
    data = picture(1)
    (drop / "0000000.png").write_bytes(data)
    for number in range(1, 1_000_000):
        (drop / f"{number:07d}.png").touch()  # empty: they are to be looked at, not read
    source = watching(drop)
    begin = time.monotonic()
    assert next_frame(source, 200).seq == 0
    print(f"a million files: {time.monotonic() - begin:.1f} s until the oldest")
    source.close()
