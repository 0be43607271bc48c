"""What every source of files promises, held against every kind, on real files, and against the fake."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import FakeClock, ScriptedSource

from edge.sources import ImagesSettings, Source, VideoSettings, make_source

COUNT = 5


def make_images(folder: Path) -> Source:
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((24, 32, 3), number * 40, np.uint8))
    return make_source("line1", ImagesSettings(str(folder / "*.png")), FakeClock())


def make_video(folder: Path) -> Source:
    writer = cv2.VideoWriter(str(folder / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for number in range(COUNT):
        writer.write(np.full((24, 32, 3), number * 40, np.uint8))
    writer.release()
    return make_source("line1", VideoSettings(folder / "v.avi", pace="asap"), FakeClock())


def make_fake(_folder: Path) -> Source:
    return ScriptedSource([None] * COUNT)


@pytest.fixture(params=[make_images, make_video, make_fake], ids=["images", "video", "fake"])
def make(request: pytest.FixtureRequest) -> Callable[[Path], Source]:
    maker: Callable[[Path], Source] = request.param
    return maker


def test_every_frame_once_in_order_and_then_the_end(make: Callable[[Path], Source], tmp_path: Path) -> None:
    source = make(tmp_path)
    source.open()
    frames = []
    while (frame := source.read()) is not None:
        frames.append((frame.line, frame.seq, str(frame.image.dtype), frame.image.shape[2], frame.captured_at_ns > 0))
    assert frames == [("line1", seq, "uint8", 3, True) for seq in range(COUNT)]
    assert source.read() is None
    source.close()
    source.close()


def test_a_file_is_not_live(make: Callable[[Path], Source], tmp_path: Path) -> None:
    assert make(tmp_path).live is False


def test_a_file_is_there_as_soon_as_it_is_asked_for(make: Callable[[Path], Source], tmp_path: Path) -> None:
    assert make(tmp_path).on_demand is True
