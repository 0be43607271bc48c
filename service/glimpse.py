"""What a line sees, for somebody who looks: the inspecting thread copies a frame, smaller, when it was asked to."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edge.frame import Frame, Image

LONGEST = 960
"""Pixels of the longer side of a copy, at most."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen.

    Attributes:
        image: (height, width, 3) uint8, BGR; a copy, for the asker to keep.
        width: of the frame, pixels.
        height: of the frame, pixels.
        captured_at_ns: UTC, nanoseconds.
    """

    image: Image
    width: int
    height: int
    captured_at_ns: int


class Glimpse:
    """One line's. While nobody asks it costs the inspecting thread a look at an attribute, and keeps nothing."""

    def __init__(self) -> None:
        self._ask: Callable[[Sight], None] | None = None

    def ask(self, answer: Callable[[Sight], None]) -> None:
        """Have the next frame copied; `answer` is called once, by the inspecting thread. In place of what was asked."""
        self._ask = answer

    def take(self, frame: Frame) -> None:
        """This frame was inspected. Called by the inspecting thread; the frame's buffer is valid meanwhile."""
        if self._ask is None:
            return
        answer, self._ask = self._ask, None
        answer(Sight(_smaller(frame.image), frame.width, frame.height, frame.captured_at_ns))


def _smaller(image: Image) -> Image:
    """A copy, a whole number of times smaller: OpenCV is several times quicker then than for any other size."""
    height, width = image.shape[:2]
    times = -(-max(height, width) // LONGEST)
    if times == 1:
        return image.copy()
    size = (max(1, width // times), max(1, height // times))
    cut = image[: size[1] * times, : size[0] * times]
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
