"""Whatever a GStreamer pipeline delivers to an `appsink`."""

import re
import subprocess
import time
from dataclasses import dataclass
from functools import cache

import cv2

from edge.clock import Clock
from edge.errors import SourceError, SourceNotUsableError
from edge.frame import Frame, Image
from edge.sources.opened import About

SYSTEM_PYTHON = "/usr/bin/python3"
_OPEN_S = 8.0


@dataclass(frozen=True, slots=True)
class GStreamerSettings:
    """A pipeline.

    Attributes:
        gstreamer: as `gst-launch-1.0` takes it; it ends in an appsink.
        lost_after_s: without a frame for so long it counts as lost.
    """

    gstreamer: str
    lost_after_s: float = 1.5


def has_gstreamer() -> bool:
    """Whether this OpenCV was built with it."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


@cache
def python_with_gstreamer() -> str | None:
    """The system's own Python, if its OpenCV has GStreamer and ours has not. It takes half a second to know."""
    if has_gstreamer():
        return None
    question = "import cv2, re, sys; sys.exit(not re.search(r'GStreamer:\\s+YES', cv2.getBuildInformation()))"
    try:
        asked = subprocess.run(  # noqa: S603  # the system's own Python
            [SYSTEM_PYTHON, "-I", "-c", question], capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return SYSTEM_PYTHON if asked.returncode == 0 else None


class GStreamerSource:
    """Frames at the pipeline's pace."""

    open_limit_s = _OPEN_S + 4.0
    group = 0

    def __init__(self, line: str, settings: GStreamerSettings, clock: Clock, _identity: str = "") -> None:
        self._line = line
        self._settings = settings
        self._clock = clock
        self._capture: cv2.VideoCapture | None = None
        self._seq = 0

    def open(self) -> About:
        if not has_gstreamer():
            raise SourceNotUsableError(NO_GSTREAMER)
        limits_ms = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _OPEN_S * 1000,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: (self._settings.lost_after_s - 0.2) * 1000,
        }
        pipeline = self._settings.gstreamer
        capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, [int(n) for pair in limits_ms.items() for n in pair])
        if not capture.isOpened():  # older ones, such as Debian 12's, know no limits; the daemon has its own
            capture.release()
            capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                "the GStreamer pipeline does not start: try it with gst-launch-1.0, a fakesink in place of the appsink"
            )
        self._capture = capture
        width, height = (capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        return About(f"{width:.0f}x{height:.0f} at {capture.get(cv2.CAP_PROP_FPS):.4g} fps")

    def read(self, into: Image | None = None) -> Frame:
        if self._capture is None:
            raise RuntimeError("read before open")
        since = time.monotonic()
        good = self._capture.grab()
        captured_at_ns = self._clock.now_ns()
        if not good:
            silent = time.monotonic() - since > self._settings.lost_after_s / 2
            raise SourceError(f"the GStreamer pipeline {'delivers nothing any more' if silent else 'has ended'}")
        good, image = self._capture.retrieve(into)  # a new array when there is none, or of another size
        if not good or image.ndim != 3 or not image.size:
            raise SourceError(
                "the GStreamer pipeline does not deliver BGR: end it with "
                "`videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1`"
            )
        seq, self._seq = self._seq, self._seq + 1
        return Frame(self._line, seq, image, captured_at_ns)  # type: ignore[arg-type]  # OpenCV's stubs know no dtype; frames are uint8 BGR

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


NO_GSTREAMER = (
    "a gstreamer source needs an OpenCV that was built with GStreamer, and neither this one nor that of "
    "/usr/bin/python3 is: on Debian and Raspberry Pi OS `apt-get install python3-opencv` brings one; on a Jetson "
    "JetPack does (`apt-get install nvidia-jetpack`), which `pip install opencv-python` hides; or use a command source"
)
