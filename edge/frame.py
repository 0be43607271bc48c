"""The record that enters a pipeline."""

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.classification import Answer

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured image.

    Attributes:
        line: name of the line that it belongs to.
        seq: counts the frames that the source delivered since it was made, from 0; dropped ones are counted too.
        image: (height, width, 3) uint8, BGR. It lies in a buffer that is used again when the next frame is
            taken; of a live source it is not to be written to.
        captured_at_ns: UTC, nanoseconds: when it was grabbed; of a file, when it was taken to be inspected, which with
            an `answer` was when it had been decoded.
        file: the image file that it came from, if it came from one.
        doubt: why what it shows cannot be trusted, if so; one sentence.
        answer: what the model says of it, where it was asked ahead; without a result when it could not be asked.
    """

    line: str
    seq: int
    image: Image
    captured_at_ns: int
    file: str | None = None
    doubt: str = ""
    answer: "Future[Answer | None] | None" = None

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.image.shape[0])
