"""Image to input tensor: region of interest and resize. The same code calibrates, evaluates and inspects.

What is written here is uint8, (1, height, width, channels), BGR or grey, straight into the engine's input: the
normalisation is inside the model's graph, and so is another order of the channels, or else the backend sees to it.
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edge.errors import BadFrameError
from edge.frame import Image

# The cores belong to the engine. OpenCV's own threads wait for work busily and get in its way: beside ONNX Runtime with
# two threads on two cores a frame of 1280x720 took 12.6 ms with them and 9.8 ms without.
cv2.setNumThreads(1)

Colour = Literal["BGR", "RGB", "GRAY"]
Resize = Literal["stretch", "letterbox", "crop", "tile"]
Layout = Literal["NHWC", "NCHW"]
InputType = Literal["uint8", "float32"]

FILL = 127
"""Grey level beside a letterboxed picture, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model file takes.

    Attributes:
        width: pixels.
        height: pixels.
        colour: order of the channels; `GRAY` is one channel.
        resize: `stretch` to the whole input; `letterbox`: keep the aspect ratio and fill up with `fill`; `crop`: keep
            the aspect ratio and leave out what is too much on both sides, or above and below; `tile`: see
            `edge/tiles.py`.
        layout: where the channels are.
        dtype: `uint8`: pixels, the file normalises them itself; `float32`: (pixel / 255 - mean) / std.
        mean: of values 0 to 1, for each channel in the order of `colour`.
        std: the same.
        overlap: pixels that neighbouring tiles share at least.
        fill: grey level beside a letterboxed picture.
    """

    width: int
    height: int
    colour: Colour
    resize: Resize = "stretch"
    layout: Layout = "NHWC"
    dtype: InputType = "uint8"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    overlap: int = 0
    fill: int = FILL

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
class Shown:
    """Where an image lies in the input, and what of it that is.

    Attributes:
        input: top, left, height, width in pixels of the input.
        image: the same in pixels of the image.
        image_px: pixels of the whole image.
    """

    input: tuple[int, int, int, int]
    image: tuple[int, int, int, int]
    image_px: int


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
        target: (1, height, width, channels) uint8, usually the engine's own input: BGR, or grey when the model has one
            channel.
    """

    def __init__(self, spec: InputSpec, target: Image) -> None:
        wanted = spec.shape
        if target.shape != wanted or target.dtype != np.uint8:
            raise ValueError(f"input buffer is {target.dtype} {target.shape}, the model wants uint8 {wanted}")
        self._spec = spec
        self._target = target[0]
        self._size = (0, 0)
        self._area: Image = self._target
        self._background_size = (0, 0)

    def __call__(self, image: Image) -> None:
        """Write `image` ((height, width, 3) uint8, BGR) into the input buffer."""
        if image.shape[:2] != self._size:
            self._arrange(image)
        self._fit(image[self._part])

    @property
    def area(self) -> Image:
        """(height, width, channels) uint8: where in the input buffer the last image lies."""
        return self._area

    @property
    def shown(self) -> Shown:
        """Where the last image lies."""
        return self._shown

    def blank(self, background: Image, start: float, stop: float, axis: int) -> None:
        """Put the background in place of everything outside of [start, stop) in what was written last.

        Args:
            background: (height, width, 3) uint8, BGR, of the aspect ratio of that image.
            start: a share of the image's width (`axis` 0) or height (`axis` 1), 0 to 1.
            stop: the same.
            axis: 0 along x, 1 along y.
        """
        if background.shape[:2] != self._background_size:
            self._background_size = (background.shape[0], background.shape[1])
            self._background_part = _slices(self._seen, *self._background_size)
            self._beside = np.empty(self._area.shape, np.uint8)
            self._fit_background = _Fit(background[self._background_part], self._beside)
        self._fit_background(background[self._background_part])
        here, there = self._area, self._beside
        if axis == 1:
            here, there = here.swapaxes(0, 1), there.swapaxes(0, 1)
        low, high = self._seen[1 - axis]
        length = here.shape[1]
        first = math.floor((start - low) / (high - low) * length)
        last = math.ceil((stop - low) / (high - low) * length)
        first, last = min(max(first, 0), length), min(max(last, 0), length)
        here[:, :first] = there[:, :first]
        here[:, last:] = there[:, last:]

    def _arrange(self, image: Image) -> None:
        """For images of another size than before: what of them is seen, and where it is put."""
        height, width = self._size = (image.shape[0], image.shape[1])
        self._background_size = (0, 0)
        self._seen = ((0.0, 1.0), (0.0, 1.0))
        """From where to where down and across, as shares of the image."""
        self._area = self._target
        left = top = 0
        across, down = self._spec.width / width, self._spec.height / height
        if self._spec.resize == "letterbox":
            self._target[...] = self._spec.fill
            inner_width = max(1, round(width * min(across, down)))
            inner_height = max(1, round(height * min(across, down)))
            left, top = (self._spec.width - inner_width) // 2, (self._spec.height - inner_height) // 2
            self._area = self._target[top : top + inner_height, left : left + inner_width]
        elif self._spec.resize == "crop":
            self._seen = (_middle(down / max(across, down)), _middle(across / max(across, down)))
        rows, columns = self._part = _slices(self._seen, height, width)
        self._shown = Shown(
            (top, left, self._area.shape[0], self._area.shape[1]),
            (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start),
            height * width,
        )
        self._fit = _Fit(image[self._part], self._area)


class _Fit:
    """Resizes pictures of one size into `out`, and makes them grey if need be.

    From 1280x720 to 224x224, averaging exactly over what becomes one pixel (INTER_AREA) takes 6 ms of one core, and one
    bilinear step 0.35 ms; but that one loses a scratch of 2 pixels between its samples. Halving until no step skips a
    pixel takes 1 ms, and every pixel counts: thin lines keep three quarters of the contrast that they have in the
    average at least, and noisy pictures differ from the average by 1.3 grey levels in the mean (bilinear: 4.4).
    """

    def __init__(self, source: Image, out: Image) -> None:
        height, width, channels = out.shape
        sizes = _halves((source.shape[0], source.shape[1]), (height, width))
        self._grey = out if channels == 1 else None
        if channels == 1:
            sizes.append((height, width))  # grey comes last: fewest pixels to convert
        steps: list[Image] = [np.empty((*size, 3), np.uint8) for size in sizes]
        if channels != 1:
            steps.append(out)
        self._steps = [(step, (step.shape[1], step.shape[0])) for step in steps]

    def __call__(self, image: Image) -> None:
        for step, size in self._steps:
            # By exactly one half OpenCV has a quick way, which averages four pixels.
            cv2.resize(image, size, step, 0, 0, cv2.INTER_LINEAR)
            image = step
        if self._grey is not None:
            cv2.cvtColor(image, cv2.COLOR_BGR2GRAY, self._grey)


def _halves(source: tuple[int, int], target: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes between, (height, width): until neither side is more than twice too long."""
    sizes = []
    sides = np.array(source)
    while (sides > 2 * np.array(target)).any():
        # Both at once is quickest, also when the shorter one comes out at three quarters of what is wanted.
        halved = (sides > 2 * np.array(target)) | (sides >= 1.5 * np.array(target)).all()
        sides = np.where(halved, (sides + 1) // 2, sides)
        sizes.append((int(sides[0]), int(sides[1])))
    return sizes


def _middle(share: float) -> tuple[float, float]:
    return (1 - share) / 2, (1 + share) / 2


def _slices(seen: tuple[tuple[float, float], tuple[float, float]], height: int, width: int) -> tuple[slice, slice]:
    (top, bottom), (left, right) = seen
    return (
        slice(round(top * height), max(round(bottom * height), 1)),
        slice(round(left * width), max(round(right * width), 1)),
    )
