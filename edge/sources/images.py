"""A set of image files, each inspected once, in the order of their names."""

import glob
from pathlib import Path

import cv2
import numpy as np

from edge.clock import Clock
from edge.errors import BadFrameError, SourceNotUsableError
from edge.frame import Frame, Image


def readable(path: str) -> str:
    """A path as text that can be sent: bytes of it that are no UTF-8 become question marks."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_image(path: Path) -> Image:
    """One image file as (height, width, 3) uint8, BGR.

    Raises:
        BadFrameError: it is missing, or no image that OpenCV can decode.
    """
    name = readable(str(path))
    if not path.is_file():
        raise BadFrameError(f"image {name} does not exist: check the path")
    try:
        # Not imread: that one fills up what is missing of a truncated JPEG with grey, which would look good.
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error) as error:
        reason = " ".join(str(error).split())
        raise BadFrameError(f"image {name} cannot be read ({reason}): replace or remove the file") from error
    if image is None:
        raise BadFrameError(f"image {name} is damaged or not an image: replace or remove the file")
    return image  # type: ignore[return-value]  # OpenCV's stubs know no dtype; IMREAD_COLOR is uint8


class ImagesSource:
    """Image files that match a pattern."""

    live = False
    ahead = True
    dropped = 0
    on_demand = True

    def __init__(self, line: str, pattern: str, clock: Clock) -> None:
        self._line = line
        self._pattern = pattern
        self._clock = clock
        self._files: list[str] = []
        self._next = 0

    def open(self) -> None:
        self._files = sorted(f for f in glob.glob(self._pattern, recursive=True) if Path(f).is_file())  # noqa: PTH207  # absolute patterns
        self._next = 0
        if not self._files:
            raise SourceNotUsableError(f"no file matches images: {self._pattern!r}: check the pattern and the folder")

    def read(self, into: Image | None = None) -> Frame | None:  # noqa: ARG002  # OpenCV decodes images into new memory
        if self._next == len(self._files):
            return None
        seq, self._next = self._next, self._next + 1
        file = self._files[seq]
        return Frame(self._line, seq, read_image(Path(file)), self._clock.now_ns(), readable(file))

    def close(self) -> None:
        self._files = []
