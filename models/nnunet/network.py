"""The network of a results folder, and what nnU-Net does to a picture before and after it, as one graph.

    uint8 (n, height, width, channels) -> RGB -> normalised -> resampled -> network(s), averaged -> resampled -> logits

All n pictures are tiles of one frame: nnU-Net normalises the whole picture before it cuts it, so what is measured of
the picture is measured over all of its tiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from dynamic_network_architectures.architectures import unet
from torch import Tensor, nn

from models.nnunet.plans import Configuration, Normalisation, ResultsError
from models.nnunet.results import Fold, Results

LEAST_DEVIATION = 1e-8
"""As in nnU-Net: what a picture without any contrast is divided by."""


def build(results: Results) -> list[nn.Module]:
    """The networks of the folds, in evaluation mode.

    Raises:
        ResultsError: a checkpoint does not fit the network of the plans, or the plans ask for what cannot be built.
    """
    return [_build(results, fold) for fold in results.folds.values()]


def _build(results: Results, fold: Fold) -> nn.Module:
    configuration = results.configuration
    try:
        network = getattr(unet, configuration.network)(
            input_channels=results.channels,
            num_classes=len(results.labels),
            deep_supervision=False,
            **_with_classes(configuration.arguments, configuration.classes),
        )
    except (TypeError, ValueError, AssertionError, IndexError) as error:
        raise ResultsError(
            f"plans.json: {configuration.network} cannot be built as the architecture says ({error}): take the "
            "plans.json of this training"
        ) from error
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | fold.weights.keys()):
        there = [tuple(of[name].shape) if name in of else None for of in (fold.weights, wanted)]
        if there[0] != there[1]:
            raise ResultsError(
                f"{fold.path} does not fit the network of plans.json: {name} is {_shape(there[0])} in the one and "
                f"{_shape(there[1])} in the other; take the plans.json of this training ({fold.trainer} may have "
                "changed the network)"
            )
    network.load_state_dict(fold.weights)
    return network.eval().requires_grad_(False)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else "x".join(map(str, shape)) or "one number"


def _with_classes(arguments: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Names of classes become these classes, and only torch's own layers are looked up."""
    found = dict(arguments)
    found.pop("deep_supervision", None)
    for name in names:
        wanted = found.get(name)
        if wanted is None:
            continue
        layer = getattr(nn, str(wanted).rpartition(".")[2], None)
        if not str(wanted).startswith("torch.nn.") or not isinstance(layer, type) or not issubclass(layer, nn.Module):
            raise ResultsError(f"plans.json: {name} is {wanted}, which is no layer of torch")
        found[name] = layer
    return found


class DeployedNnUNet(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """What is exported, up to its logits.

    Args:
        networks: of the folds; their logits are averaged, as nnU-Net does.
        configuration: says how pictures are normalised.
        scale: height and width of what the network sees, relative to the input; (1, 1): as it is.
    """

    def __init__(self, networks: Sequence[nn.Module], configuration: Configuration, scale: tuple[float, float]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.normalisations = configuration.normalisations
        self.scale = scale

    def forward(self, image: Tensor) -> Tensor:
        """Logits (n, labels, height, width) of uint8 (n, height, width, channels), BGR or grey."""
        height, width = image.shape[1], image.shape[2]
        x = image.permute(0, 3, 1, 2).to(torch.float32)
        # nnU-Net reads RGB.
        channels = reversed(range(x.shape[1]))
        planes = [normalised(x[:, one : one + 1], how) for one, how in zip(channels, self.normalisations, strict=True)]
        x = torch.cat(planes, 1) if len(planes) > 1 else planes[0]
        resampled = self.scale != (1.0, 1.0)
        if resampled:
            size = (round(height * self.scale[0]), round(width * self.scale[1]))
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        logits = self.networks[0](x)
        for network in self.networks[1:]:
            logits = logits + network(x)
        if len(self.networks) > 1:
            logits = logits / len(self.networks)
        if resampled:
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        found: Tensor = logits
        return found


def normalised(plane: Tensor, how: Normalisation) -> Tensor:
    """One channel, (n, 1, height, width) grey levels of 0 to 255, as nnU-Net's scheme of that name makes it."""
    if how.scheme == "ZScoreNormalization":
        plane = plane - plane.mean()
        return plane / (plane * plane).mean().sqrt().clamp(min=LEAST_DEVIATION)
    if how.scheme == "RescaleTo01Normalization":
        plane = plane - plane.amin()
        return plane / plane.amax().clamp(min=LEAST_DEVIATION)
    if how.scheme == "RGBTo01Normalization":
        return plane / 255.0
    if how.scheme == "CTNormalization":
        return (plane.clamp(how.low, how.high) - how.mean) / max(how.std, LEAST_DEVIATION)
    return plane
