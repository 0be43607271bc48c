"""Image to input tensor: region of interest, resize, colour. The same code calibrates, evaluates and inspects.

The normalisation (mean, std) is inside the model's graph, so that what is written here is uint8 and goes straight
into the engine's input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edge.errors import BadFrameError
from edge.frame import Image

Colour = Literal["BGR", "RGB", "GRAY"]
Resize = Literal["stretch", "letterbox"]
Layout = Literal["NHWC", "NCHW"]
InputType = Literal["uint8", "float32"]


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model file takes.

    Attributes:
        width: pixels.
        height: pixels.
        colour: order of the channels; `GRAY` is one channel.
        resize: `stretch` to the whole input, or `letterbox`: keep the aspect ratio and fill up with mid-grey.
        layout: where the channels are.
        dtype: `uint8`: pixels, the file normalises them itself; `float32`: (pixel / 255 - mean) / std.
        mean: of values 0 to 1, for each channel in the order of `colour`.
        std: the same.
    """

    width: int
    height: int
    colour: Colour
    resize: Resize = "stretch"
    layout: Layout = "NHWC"
    dtype: InputType = "uint8"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    @property
    def as_preprocessed(self) -> bool:
        """Whether the file takes what the preprocessor writes as it is; if not, the backend adds what is lacking."""
        return self.layout == "NHWC" and self.dtype == "uint8" and self.colour != "RGB"

    @property
    def channels(self) -> int:
        """1 for grey, else 3."""
        return 1 if self.colour == "GRAY" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(1, height, width, channels): what the preprocessor writes, uint8 and BGR or grey."""
        return (1, self.height, self.width, self.channels)


@dataclass(frozen=True, slots=True)
class Roi:
    """Region of interest in pixels of the frame."""

    x: int
    y: int
    width: int
    height: int

    def view(self, image: Image) -> Image:
        """The region as a view, without a copy.

        Raises:
            BadFrameError: the region does not lie within the frame.
        """
        height, width = image.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise BadFrameError(
                f"roi [{self.x}, {self.y}, {self.width}, {self.height}] does not fit into the {width}x{height} frame: "
                "make it smaller or ask the camera for a larger picture"
            )
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


class Preprocessor:
    """Writes frames into one input buffer, which is given once. Used by one thread.

    Args:
        spec: what the model expects.
        target: (1, height, width, channels) uint8, usually the engine's own input.
    """

    def __init__(self, spec: InputSpec, target: Image) -> None:
        if target.shape != spec.shape or target.dtype != np.uint8:
            raise ValueError(f"input buffer is {target.dtype} {target.shape}, the model wants uint8 {spec.shape}")
        self._spec = spec
        self._target = target[0]
        self._bgr = np.empty((spec.height, spec.width, 3), np.uint8) if spec.colour == "GRAY" else target[0]
        self._placed = (0, 0, spec.height, spec.width)
        self._other: Preprocessor | None = None
        self._place: Callable[[Image], Image] = self._letterbox if spec.resize == "letterbox" else self._whole

    def __call__(self, image: Image) -> None:
        """Write `image` ((height, width, 3) uint8, BGR) into the input buffer."""
        area = self._place(image)
        height, width = area.shape[:2]
        # INTER_AREA averages when it shrinks (small defects survive, noise does not alias); it cannot enlarge well.
        shrinks = image.shape[0] >= height and image.shape[1] >= width
        cv2.resize(image, (width, height), dst=area, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if self._spec.colour == "GRAY":
            cv2.cvtColor(self._bgr, cv2.COLOR_BGR2GRAY, dst=self._target)

    @property
    def area(self) -> Image:
        """(height, width, channels) uint8: where in the input buffer the last image lies."""
        top, left, height, width = self._placed
        area: Image = self._target[top : top + height, left : left + width]
        return area

    def blank(self, background: Image, start: float, stop: float, axis: int) -> None:
        """Put the background in place of everything outside of [start, stop) in what was written last.

        Args:
            background: (height, width, 3) uint8, BGR, of the aspect ratio of that image.
            start: a share of the image's width (`axis` 0) or height (`axis` 1), 0 to 1.
            stop: the same.
            axis: 0 along x, 1 along y.
        """
        if self._other is None:
            self._other = Preprocessor(self._spec, np.empty_like(self._target[np.newaxis]))
        self._other(background)
        here, there = self.area, self._other.area
        if axis == 1:
            here, there = here.swapaxes(0, 1), there.swapaxes(0, 1)
        first, last = int(start * here.shape[1]), math.ceil(stop * here.shape[1])
        here[:, :first] = there[:, :first]
        here[:, last:] = there[:, last:]

    def _whole(self, _image: Image) -> Image:
        return self._bgr

    def _letterbox(self, image: Image) -> Image:
        scale = min(self._spec.width / image.shape[1], self._spec.height / image.shape[0])
        width = max(1, round(image.shape[1] * scale))
        height = max(1, round(image.shape[0] * scale))
        left, top = (self._spec.width - width) // 2, (self._spec.height - height) // 2
        self._placed = (top, left, height, width)
        self._bgr[...] = 127
        return self._bgr[top : top + height, left : left + width]
