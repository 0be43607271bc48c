"""The zoo: every network that the workshop trains, by name, and what it takes to make one again.

Adding one is a file in this folder and a row in `NETWORKS`.

    picture uint8 -> values 0 to 1 -> `Network.prepare` -> the module -> logits of the picture, or of every pixel

Classifiers give logits (n, labels); those that can draw what they see have a method `draw`, too, which training uses:
see `Draws`. Segmenters give logits (n, labels, height, width).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from edge.preprocess import FILL, Colour, InputSpec, Resize
from models.zoo.defect_net import DefectNet
from models.zoo.map_net import MapNet
from models.zoo.mobilenet import MobileNetV3Small
from models.zoo.resnet import resnet18, resnet50
from models.zoo.unet import Segmenter, UNetClassifier

Task = Literal["classification", "segmentation"]

# Of ImageNet, in the order RGB, of values 0 to 1: what the published weights expect; and the means of both, for grey.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)


@dataclass(frozen=True, slots=True)
class Kind:
    """One network of the zoo.

    Attributes:
        task: what it does.
        text: for people.
        make: of (channels, labels) and its settings by name.
        settings: their defaults.
        standardises: it brings each picture to mean 0 and deviation 1 itself; else it takes RGB (or grey), normalised
            by `MEAN` and `STD`.
    """

    task: Task
    text: str
    make: Callable[..., nn.Module]
    settings: Mapping[str, Any]
    standardises: bool


_U = {"width": 8, "levels": 6, "skips": None}

NETWORKS: dict[str, Kind] = {
    "defect-net": Kind(
        "classification", "small, draws the defects on its way; surface-demo", DefectNet, {"width": 16}, True
    ),
    "map-net": Kind(
        "classification", "smaller, judges by what it draws alone; magnetic-tile", MapNet, {"width": 16}, True
    ),
    "unet-classifier": Kind("classification", "a U-Net, its features averaged", UNetClassifier, _U, True),
    "resnet18": Kind("classification", "as published", resnet18, {"width": 64}, False),
    "resnet50": Kind("classification", "as published", resnet50, {"width": 64}, False),
    "mobilenetv3-small": Kind("classification", "as published", MobileNetV3Small, {}, False),
    "unet-segmenter": Kind(
        "segmentation",
        "a U-Net that says what every pixel shows",
        Segmenter,
        {"width": 12, "levels": 5, "skips": None, "stride": 2},
        True,
    ),
}

CLASSIFIERS = tuple(name for name, kind in NETWORKS.items() if kind.task == "classification")


@runtime_checkable
class Draws(Protocol):
    """A classifier that can say where it sees what."""

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, labels) and map logits (n, labels - 1, height / 4, width / 4)."""


@dataclass(frozen=True, slots=True)
class Network:
    """Which network, and everything that its shape depends on.

    Attributes:
        name: one of `NETWORKS`.
        labels: the pass label first.
        spec: what it takes; `mean` and `std` are those that `prepare` applies, in the order of `colour`.
        settings: those of its kind, all of them.
    """

    name: str
    labels: tuple[str, ...]
    spec: InputSpec
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Its row in the zoo."""
        return NETWORKS[self.name]

    @property
    def multiple(self) -> int:
        """Of what its height and its width have to be, because it halves them so often."""
        return multiple_of(self.name, self.settings)

    def make(self) -> nn.Module:
        """An untrained one, in training mode."""
        return self.kind.make(self.spec.channels, len(self.labels), **self.settings)

    def prepare(self, x: Tensor) -> Tensor:
        """(n, channels, height, width), values 0 to 1 in the camera's order of the channels, as the module takes it."""
        if self.kind.standardises:
            return x
        mean, std = (torch.tensor(values, dtype=x.dtype)[:, None, None] for values in (self.spec.mean, self.spec.std))
        x = (x - mean) / std
        return x.flip(1) if self.spec.channels == 3 else x

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint or a bundle."""
        return {
            "name": self.name,
            "labels": list(self.labels),
            "width": self.spec.width,
            "height": self.spec.height,
            "colour": self.spec.colour,
            "resize": self.spec.resize,
            "fill": self.spec.fill,
            "settings": dict(self.settings),
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Network":
        """What `as_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        size = saved["width"], saved["height"]
        fit = saved["resize"], saved.get("fill", FILL)
        return describe(saved["name"], saved["labels"], size, saved["colour"], saved["settings"], *fit)


def describe(  # noqa: PLR0917  # what a network is, in the order in which one says it
    name: str,
    labels: tuple[str, ...] | list[str],
    size: tuple[int, int],
    colour: Colour,
    settings: Mapping[str, Any] | None = None,
    resize: Resize = "stretch",
    fill: int = FILL,
) -> Network:
    """The description of a network; settings that are not given are those of its kind.

    Args:
        name: one of `NETWORKS`.
        labels: the pass label first.
        size: (width, height) in pixels.
        colour: of its pictures, GRAY or BGR.
        settings: those that differ.
        resize: how pictures come to its size.
        fill: grey level beside a letterboxed picture.

    Raises:
        ValueError: there is no such network, it has no such setting, or the size does not fit it.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}: take one of {', '.join(NETWORKS)}")
    kind, given = NETWORKS[name], dict(settings or {})
    unknown = sorted(set(given) - set(kind.settings))
    if unknown:
        has = ", ".join(kind.settings) or "none"
        raise ValueError(f"{name} has no setting {', '.join(unknown)}: its settings are {has}")
    chosen = {**kind.settings, **given}
    _check(name, size, chosen)
    spec = InputSpec(*size, colour, resize, fill=fill)
    if not kind.standardises:
        mean, std = (GREY_MEAN, GREY_STD) if colour == "GRAY" else (MEAN[::-1], STD[::-1])
        spec = InputSpec(*size, colour, resize, mean=mean, std=std, fill=fill)
    return Network(name, tuple(labels), spec, chosen)


def multiple_of(name: str, settings: Mapping[str, Any]) -> int:
    """Of what the sides of a network's pictures have to be multiples."""
    levels = settings.get("levels")
    return settings.get("stride", 1) * 2 ** (levels - 1) if levels else 32 if name in {"defect-net", "map-net"} else 1


def _check(name: str, size: tuple[int, int], settings: Mapping[str, Any]) -> None:
    width, levels, skips = settings.get("width", 1), settings.get("levels"), settings.get("skips")
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"width {width}: give 1 or more")
    if levels is not None and not 2 <= levels <= 8:
        raise ValueError(f"levels {levels}: give 2 to 8")
    if skips is not None and levels is not None and not 0 <= skips < levels:
        raise ValueError(f"skips {skips}: {levels} levels have 0 to {levels - 1} skips")
    stride = settings.get("stride", 1)
    if stride not in (1, 2):
        raise ValueError(f"stride {stride}: give 1 or 2")
    multiple = multiple_of(name, settings)
    if any(side % multiple or side < 32 for side in size):
        asked = f"a multiple of {multiple}, 32 or more" if multiple > 1 else "32 or more"
        raise ValueError(f"size {size[0]}x{size[1]}: {name} takes {asked}")
