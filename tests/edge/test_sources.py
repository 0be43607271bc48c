import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeClock

from edge.errors import BadFrameError, SourceNotUsableError
from edge.sources import ImagesSettings, Source, VideoSettings, make_source
from edge.sources.images import read_image


def video(path: Path, frames: int = 4, fps: float = 10) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), number * 4 % 256, np.uint8))
    writer.release()
    return path


def opened(settings: VideoSettings | ImagesSettings, clock: FakeClock | None = None) -> Source:
    source = make_source("line1", settings, clock or FakeClock())
    source.open()
    return source


def test_realtime_waits_for_each_frame(tmp_path: Path) -> None:
    clock = FakeClock()
    source = opened(VideoSettings(video(tmp_path / "v.avi")), clock)
    while source.read() is not None:
        pass
    assert clock.slept == pytest.approx([0.1, 0.1, 0.1], abs=1e-6)


def test_realtime_after_a_slow_frame_does_not_rush(tmp_path: Path) -> None:
    clock = FakeClock()
    source = opened(VideoSettings(video(tmp_path / "v.avi")), clock)
    source.read()
    clock.now += 1_000_000_000
    source.read()
    assert clock.slept == []
    source.read()
    assert len(clock.slept) <= 1
    assert source.read() is not None
    assert clock.slept[-1] == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("rate", [(3600, 1), (1, 2**31)])
def test_a_pace_that_no_camera_has_is_not_believed(tmp_path: Path, rate: tuple[int, int]) -> None:
    """One frame in an hour, or two thousand million a second, as a damaged header says."""
    path = video(tmp_path / "v.avi")
    data = bytearray(path.read_bytes())
    scale = data.index(b"strh") + 8 + 20
    data[scale : scale + 8] = struct.pack("<II", *rate)
    path.write_bytes(data)
    clock = FakeClock()
    source = opened(VideoSettings(path), clock)
    while source.read() is not None:
        pass
    assert clock.slept == pytest.approx([0.04, 0.04, 0.04], abs=1e-6)


def test_loop_begins_again_and_goes_on_counting(tmp_path: Path) -> None:
    source = opened(VideoSettings(video(tmp_path / "v.avi"), pace="asap", loop=True))
    frames = [source.read() for _ in range(10)]
    assert [frame.seq for frame in frames if frame] == list(range(10))


def test_video_writes_into_the_given_buffer(tmp_path: Path) -> None:
    source = opened(VideoSettings(video(tmp_path / "v.avi"), pace="asap"))
    buffer = np.zeros((24, 32, 3), np.uint8)
    addresses = {frame.image.ctypes.data for _ in range(4) if (frame := source.read(buffer))}
    assert addresses == {buffer.ctypes.data}


def test_a_buffer_of_another_size_is_left_alone(tmp_path: Path) -> None:
    source = opened(VideoSettings(video(tmp_path / "v.avi"), pace="asap"))
    buffer = np.full((10, 10, 3), 7, np.uint8)
    frame = source.read(buffer)
    assert frame is not None
    assert frame.image.shape == (24, 32, 3)
    assert (buffer == 7).all()


def test_missing_video() -> None:
    with pytest.raises(SourceNotUsableError, match=r"video nowhere\.mp4 does not exist: check the path"):
        opened(VideoSettings(Path("nowhere.mp4")))


def test_a_video_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"\x00" * 5000)
    with pytest.raises(SourceNotUsableError, match=r"v\.mp4 cannot be opened: it is damaged or no video; convert it"):
        opened(VideoSettings(path))


def test_a_video_cut_off_in_the_middle_ends_early(tmp_path: Path) -> None:
    whole = video(tmp_path / "whole.avi", frames=60)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = opened(VideoSettings(cut, pace="asap"))
    frames = 0
    while source.read() is not None:
        frames += 1
    assert 0 < frames < 60


def test_broken_image_is_named_and_the_next_one_is_read(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    source = opened(ImagesSettings(str(tmp_path / "*.png")))
    first = source.read()
    assert first is not None
    assert first.file == str(tmp_path / "a.png")
    with pytest.raises(BadFrameError, match=r"b\.png is damaged or not an image: replace or remove the file"):
        source.read()
    last = source.read()
    assert last is not None
    assert (last.seq, last.file) == (2, str(tmp_path / "c.png"))
    assert source.read() is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff"])
def test_an_image_that_breaks_off_is_not_taken_for_a_good_one(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(whole), noise)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert read_image(whole).shape == (64, 64, 3)
    with pytest.raises(BadFrameError, match="cut"):
        read_image(cut)


def test_an_empty_file_and_a_name_in_another_script(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(BadFrameError, match=r"empty\.jpg is damaged or not an image"):
        read_image(tmp_path / "empty.jpg")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    named = (tmp_path / "a.png").rename(tmp_path / "划痕 ü.png")
    assert read_image(named).shape == (8, 8, 3)


def test_no_image_matches(tmp_path: Path) -> None:
    with pytest.raises(SourceNotUsableError, match=r"no file matches images: .*check the pattern"):
        opened(ImagesSettings(str(tmp_path / "*.jpg")))
