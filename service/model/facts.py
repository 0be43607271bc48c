"""What a model file shows of itself, and what is known of it in the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edge.conversion.original import Original
from edge.errors import PermanentError
from edge.frame import Image
from edge.preprocess import Colour, InputType, Layout, Resize

Scores = npt.NDArray[np.float32]


class ModelFileError(PermanentError):
    """A model file that no bundle can be made of."""


class MissingFlagsError(PermanentError):
    """The file does not tell something, and the command line does not either."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the graph and its metadata show.

    Attributes:
        metadata: key to value, as the exporter wrote them; those of Model API begin with `model_info `.
        written_by: names of Python classes that the network was made of, where the exporter keeps them.
        shape: of the input; 0 where it is open.
        dtype: of the input.
        labels: how many scores it gives; 0 where that is open.
        layout: of the input, where the file tells it.
    """

    metadata: Mapping[str, str]
    written_by: str
    shape: tuple[int, int, int, int]
    dtype: InputType
    labels: int
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a model; None: not known. Means and deviations are of values 0 to 1, in the model's order.

    Attributes:
        origin: who wrote the file, for people.
        size: width and height in pixels.
        how: for each attribute that is known, where from.
    """

    origin: str = "a plain file"
    labels: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    layout: Layout | None = None
    colour: Colour | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: Resize | None = None
    fill: int | None = None
    how: Mapping[str, str] = field(default_factory=dict)

    def then(self, where: str, **values: object) -> "Told":
        """The same, and what is given over it; None changes nothing."""
        known = {name: value for name, value in values.items() if value is not None}
        return replace(self, **known, how={**self.how, **dict.fromkeys(known, where)})  # type: ignore[arg-type]  # as named


class ModelFile(Protocol):
    """One model of elsewhere, read and found to be one that can be run here."""

    facts: Facts
    precision: Literal["int8", "fp16", "fp32"]
    several_at_once: bool
    """Whether it ends in a Sigmoid, which gives each label a score of its own."""

    def scores(self, taken: Original, images: Image) -> Scores:
        """What the file itself, as it came, gives for pictures (n, height, width, channels) uint8: (n, labels).

        Raises:
            ModelFileError: it does not run, or gives no row of scores.
        """

    def convert(self, taken: Original, folder: Path, *, softmax: bool) -> Path:
        """Write the form that takes the camera's uint8 pictures and gives softmax values.

        Raises:
            ModelFileError: it cannot be made.
        """
