"""What a model of elsewhere takes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.frame import Image
from edge.preprocess import FILL, Colour, InputSpec, InputType, Layout, Resize


@dataclass(frozen=True, slots=True)
class Original:
    """What a model takes before it is extended.

    Attributes:
        colour: order of its channels.
        layout: of its input.
        height: pixels.
        width: pixels.
        dtype: float32 stands for `(value / 255 - mean) / std`, uint8 for the values as they are.
        mean: one for each channel, in the model's order, of values 0 to 1.
        std: the same.
        resize: how pictures come to its size.
        fill: grey level beside a letterboxed picture.
    """

    colour: Colour
    layout: Layout
    height: int
    width: int
    dtype: InputType = "float32"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: Resize = "stretch"
    fill: int = FILL

    @property
    def spec(self) -> InputSpec:
        """What the extended model takes."""
        colour: Colour = "GRAY" if self.colour == "GRAY" else "BGR"
        return InputSpec(self.width, self.height, colour, self.resize, fill=self.fill)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of its input, for one picture."""
        channels = self.spec.channels
        if self.layout == "NCHW":
            return (1, channels, self.height, self.width)
        return (1, self.height, self.width, channels)

    def prepare(self, image: Image) -> npt.NDArray[np.generic]:
        """(height, width, channels) uint8, BGR or grey, as the original takes it, with a batch dimension."""
        ordered: npt.NDArray[Any] = image[..., ::-1] if self.colour == "RGB" else image
        if self.dtype == "float32":
            ordered = (ordered / np.float32(255) - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        if self.layout == "NCHW":
            ordered = ordered.transpose(2, 0, 1)
        return np.ascontiguousarray(ordered[None], np.dtype(self.dtype))
