"""A video file, frame by frame, at its own speed or as fast as it can be inspected."""

import os
from pathlib import Path

import cv2

from edge.clock import Clock
from edge.errors import SourceNotUsableError
from edge.frame import Frame, Image

# What FFmpeg and OpenCV say on stderr about a file that they cannot read is said better by the errors raised here.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
if hasattr(cv2.utils, "logging"):  # not in Debian 12's OpenCV, which reads gstreamer sources
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


_FPS = (0.2, 1000.0)
_FPS_IF_WILD = 25.0
"""A damaged header may say anything, such as one frame in an hour, for which the line would wait."""


class VideoSource:
    """A video file. No frame is lost: the next one is decoded when it is asked for."""

    live = False
    ahead = True
    dropped = 0

    def __init__(self, line: str, path: Path, clock: Clock, *, realtime: bool, loop: bool) -> None:
        self._line = line
        self._path = path
        self._clock = clock
        self._realtime = realtime
        self.on_demand = not realtime
        self._loop = loop
        self._capture: cv2.VideoCapture | None = None
        self._period_ns = 0
        self._due_ns = 0
        self._seq = 0
        self._in_this_pass = 0

    def open(self) -> None:
        if not self._path.is_file():
            raise SourceNotUsableError(f"video {self._path} does not exist: check the path")
        self._rewind()

    def read(self, into: Image | None = None) -> Frame | None:
        if self._capture is None:
            raise RuntimeError("read before open")
        good, image = self._capture.read(into)  # a new array when there is none, or of another size
        if not good:
            if self._in_this_pass == 0:
                raise SourceNotUsableError(
                    f"video {self._path} has no frame that can be decoded: convert it, "
                    "for example with `ffmpeg -i IN -c:v libx264 OUT.mp4`"
                )
            if not self._loop:
                return None
            self._rewind()
            return self.read(into)
        self._wait_until_due()
        seq, self._seq = self._seq, self._seq + 1
        self._in_this_pass += 1
        return Frame(self._line, seq, image, self._clock.now_ns())  # type: ignore[arg-type]  # OpenCV's stubs know no dtype; frames are uint8 BGR

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _rewind(self) -> None:
        # Opened afresh: seeking back to frame 0 is not exact with every codec.
        self.close()
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise SourceNotUsableError(
                f"video {self._path} cannot be opened: it is damaged or no video; convert it, "
                "for example with `ffmpeg -i IN -c:v libx264 OUT.mp4`"
            )
        self._capture = capture
        fps = capture.get(cv2.CAP_PROP_FPS)
        if not _FPS[0] <= fps <= _FPS[1]:
            fps = _FPS_IF_WILD
        self._period_ns = int(1e9 / fps) if self._realtime else 0
        self._due_ns = self._clock.monotonic_ns()
        self._in_this_pass = 0

    def _wait_until_due(self) -> None:
        if not self._period_ns:
            return
        late_ns = self._clock.monotonic_ns() - self._due_ns
        if late_ns < 0:
            self._clock.sleep(-late_ns / 1e9)
        # When inspection is slower than the video, the clip is stretched rather than caught up in a rush.
        self._due_ns += self._period_ns + max(0, late_ns - self._period_ns)
