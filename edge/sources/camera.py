"""A camera through Video4Linux."""

from pathlib import Path

import cv2

from edge.clock import Clock
from edge.errors import SourceError
from edge.frame import Frame, Image


class CameraSource:
    """A V4L2 camera. Frames come at the camera's pace."""

    live = True
    on_demand = False

    def __init__(
        self, line: str, camera: str | int, *, width: int | None, height: int | None, fps: float | None, clock: Clock
    ) -> None:
        self._line = line
        self._camera = camera
        self._wanted = {
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
        }
        self._clock = clock
        self._capture: cv2.VideoCapture | None = None
        self._seq = 0

    def open(self) -> None:
        device = f"/dev/video{self._camera}" if isinstance(self._camera, int) else self._camera
        if not Path(device).exists():
            raise SourceError(f"camera {device} is not there: plug it in, or list the cameras with `ls /dev/v4l/by-id`")
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                f"camera {device} cannot be opened: another program may be using it, "
                "or this user may not read it (group `video`)"
            )
        for key, value in self._wanted.items():
            if value is not None:
                capture.set(key, value)
        # One buffer: the kernel must not queue up frames that would be old when we come for them.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture = capture

    def read(self, into: Image | None = None) -> Frame | None:
        if self._capture is None:
            raise RuntimeError("read before open")
        good, image = self._capture.read(into)  # a new array when there is none, or of another size
        if not good:
            raise SourceError(f"camera {self._camera} delivers no frames: it was unplugged or has failed")
        seq, self._seq = self._seq, self._seq + 1
        return Frame(self._line, seq, image, self._clock.now_ns())  # type: ignore[arg-type]  # OpenCV's stubs know no dtype; frames are uint8 BGR

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
