"""Frames to measure with: in memory, and a clip."""

import threading
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle
from edge.clock import SystemClock
from edge.errors import EdgeError, SourceError
from edge.frame import Frame, Image
from edge.sources import Source
from edge.sources.mailbox import Mailbox

HD = (1280, 720)
"""Width and height of what a camera gives."""
FRAME_TIMEOUT_S = 30
CLIP_FRAMES = 90
KEPT = 8
"""Frames in memory, shown in turn: 21 MiB at 1280x720, more than most processors' caches hold."""


class Memory:
    """A source of frames that are in memory already, without an end."""

    live = False
    on_demand = True
    ahead = True
    dropped = 0

    def __init__(self, pictures: list[Image]) -> None:
        self._pictures = pictures
        self._clock = SystemClock()
        self._seq = 0

    def open(self) -> None:
        """They are there."""

    def read(self, into: Image | None = None) -> Frame:  # noqa: ARG002  # they are in memory already
        seq, self._seq = self._seq, self._seq + 1
        return Frame("bench", seq, self._pictures[seq % len(self._pictures)], self._clock.now_ns())

    def close(self) -> None:
        """They stay."""


class Ahead:
    """A source of a file as the daemon uses it: a thread decodes the next frames while one is inspected."""

    live = False
    on_demand = True
    ahead = True
    dropped = 0

    def __init__(self, source: Source) -> None:
        self._source = source
        self._mailbox = Mailbox()
        self._thread = threading.Thread()

    def open(self) -> None:
        self._source.open()
        self._mailbox.open()
        self._thread = threading.Thread(target=self._capture, name="capture-bench", daemon=True)
        self._thread.start()

    def read(self, _into: Image | None = None) -> Frame | None:
        try:
            return self._mailbox.take(FRAME_TIMEOUT_S)
        except TimeoutError as error:
            raise SourceError(f"the video gave no frame within {FRAME_TIMEOUT_S} s: give another one") from error

    def close(self) -> None:
        self._mailbox.close()
        self._thread.join()
        self._source.close()

    def _capture(self) -> None:
        while self._mailbox.room():
            try:
                frame = self._source.read(self._mailbox.buffer())
            except EdgeError as error:
                self._mailbox.fail(error)
                return
            if frame is None:
                self._mailbox.end()
                return
            self._mailbox.put(frame)


def pictures(bundle: Bundle, size: tuple[int, int]) -> list[Image]:
    """The golden inputs of a bundle at another size, in colour."""
    golden = bundle.golden_inputs
    return [_sized(golden[number % len(golden)], size) for number in range(KEPT)]


def write_clip(bundle: Bundle, path: Path) -> bool:
    """A clip of 1280x720 in which the golden inputs drift by, MPEG-4; whether OpenCV can encode one here."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, HD)
    if not writer.isOpened():
        return False
    still = pictures(bundle, HD)
    for number in range(CLIP_FRAMES):
        writer.write(np.roll(still[number // 30 % KEPT], 8 * number, axis=1))
    writer.release()
    return path.is_file() and path.stat().st_size > 0


def describe(path: Path) -> str:
    """What a video is, for people: name, codec and size."""
    capture = cv2.VideoCapture(str(path))
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    names = {"FMP4": "MPEG-4", "mp4v": "MPEG-4", "h264": "H.264", "avc1": "H.264", "hevc": "H.265", "hvc1": "H.265"}
    return f"{names.get(code, code)} {width}x{height}"


def _sized(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> Image:
    coloured = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.shape[2] == 1 else picture
    if coloured.shape[:2] == (size[1], size[0]):
        return np.ascontiguousarray(coloured)
    resized: Image = np.asarray(cv2.resize(coloured, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return resized
