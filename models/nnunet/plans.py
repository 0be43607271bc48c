"""plans.json and dataset.json of nnU-Net v2: one configuration, in either form that plans have had, as plain figures.

What a camera's picture on an edge device cannot be given to is refused here, in one sentence each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMES = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
NETWORKS = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
"""What can be built, and what the number of convolutions of each stage of its encoder is called."""


class ResultsError(ValueError):
    """The folder is none that can be imported. The message names the remedy."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What nnU-Net does to one channel: its name for it, and the figures that come from the plans (grey levels).

    Attributes:
        scheme: one of SCHEMES.
        mean, std, low, high: for CTNormalization.
    """

    scheme: str
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 255.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration of the plans.

    Attributes:
        name: as in the plans, usually `2d`.
        patch: height and width of what the network sees at a time, pixels.
        spacing: of these pixels, down and across, in the unit of the training pictures.
        normalisations: one for each channel.
        network: one of NETWORKS.
        arguments: of its constructor; classes of torch are still names.
        classes: which of the arguments these are.
    """

    name: str
    patch: tuple[int, int]
    spacing: tuple[float, float]
    normalisations: tuple[Normalisation, ...]
    network: str
    arguments: dict[str, Any]
    classes: tuple[str, ...]

    @property
    def divisor(self) -> tuple[int, int]:
        """Height and width of the input must be multiples of these."""
        down = across = 1
        for stride in self.arguments["strides"]:
            down, across = down * _both(stride)[0], across * _both(stride)[1]
        return down, across


def read_configuration(plans: Mapping[str, Any], name: str, channels: int) -> Configuration:
    """One configuration, with what it inherits.

    Args:
        plans: plans.json.
        name: of the configuration.
        channels: of the pictures.

    Raises:
        ResultsError: it is not there, lacks something, or is for something else than pictures of one or three channels.
    """
    settings = _inherited(plans, name, ())
    try:
        return _configuration(plans, settings, name, channels)
    except (KeyError, TypeError, IndexError) as error:
        raise ResultsError(
            f"plans.json: configuration {name} is not as nnU-Net v2 writes it ({type(error).__name__}: {error}): take "
            "the folder as the training left it"
        ) from error


def read_labels(dataset: Mapping[str, Any]) -> list[str]:
    """The labels in the order of their numbers; the first one is the background. `ignore` is none.

    Raises:
        ResultsError: they are not there, overlap (regions), or leave numbers out.
    """
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or "background" not in labels:
        raise ResultsError("dataset.json: labels is not there or has no background: it is none of nnU-Net v2")
    numbers = {name: number for name, number in labels.items() if name != "ignore"}
    if dataset.get("regions_class_order") or any(isinstance(number, list) for number in numbers.values()):
        raise ResultsError(
            "dataset.json: labels are regions that overlap (regions_class_order), and a mask says one thing of each "
            "pixel: train with one number for each label"
        )
    ordered = sorted(numbers, key=lambda one: int(numbers[one]))
    if [int(numbers[one]) for one in ordered] != list(range(len(ordered))) or ordered[0] != "background":
        raise ResultsError(f"dataset.json: labels has the numbers {sorted(numbers.values())}: they must be 0, 1, 2 ...")
    return ordered


def read_channels(dataset: Mapping[str, Any]) -> int:
    """How many channels a picture has: 1 or 3.

    Raises:
        ResultsError: another number.
    """
    names = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(names, dict) or len(names) not in (1, 3):
        count = len(names) if isinstance(names, dict) else "no"
        raise ResultsError(f"dataset.json names {count} channels: a camera gives 1 (grey) or 3 (colour)")
    return len(names)


def _inherited(plans: Mapping[str, Any], name: str, via: Sequence[str]) -> dict[str, Any]:
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or name not in configurations or name in via:
        there = ", ".join(configurations) if isinstance(configurations, dict) else "none"
        raise ResultsError(f"plans.json has no configuration {name}, but {there}: take the plans.json of this training")
    own = dict(configurations[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_inherited(plans, parent, (*via, name)), **own}


def _configuration(plans: Mapping[str, Any], settings: dict[str, Any], name: str, channels: int) -> Configuration:
    patch = [int(side) for side in settings["patch_size"]]
    if len(patch) != 2:
        raise ResultsError(
            f"configuration {name} is for volumes (patches of {'x'.join(map(str, patch))}): give results of a 2d one"
        )
    if settings.get("previous_stage"):
        raise ResultsError(f"configuration {name} is the second stage of a cascade: give the results of a 2d one")
    if list(plans.get("transpose_forward", [0, 1, 2]))[-2:] != [1, 2]:
        raise ResultsError("plans.json transposes its pictures: they were slices of volumes, and a camera gives none")
    if any(settings["use_mask_for_norm"]):
        raise ResultsError(
            "plans.json normalises within a mask (use_mask_for_norm), because the training pictures are largely black: "
            "cut them out and plan again"
        )
    network, arguments, classes = _network(settings)
    return Configuration(
        name,
        (patch[0], patch[1]),
        (float(settings["spacing"][-2]), float(settings["spacing"][-1])),
        _normalisations(plans, settings["normalization_schemes"], channels),
        network,
        arguments,
        classes,
    )


def _normalisations(plans: Mapping[str, Any], schemes: Sequence[str], channels: int) -> tuple[Normalisation, ...]:
    if len(schemes) != channels:
        raise ResultsError(f"plans.json normalises {len(schemes)} channels, and dataset.json names {channels}")
    unknown = sorted(set(schemes) - set(SCHEMES))
    if unknown:
        raise ResultsError(f"plans.json normalises by {', '.join(unknown)}, which is none of nnU-Net's own schemes")
    found = []
    for number, scheme in enumerate(schemes):
        if scheme == "CTNormalization":
            of = (
                plans.get("foreground_intensity_properties_per_channel")
                or plans["foreground_intensity_properties_by_modality"]
            )[str(number)]
            figures = (of["mean"], of["std"], of["percentile_00_5"], of["percentile_99_5"])
            found.append(Normalisation(scheme, *(float(figure) for figure in figures)))
        else:
            found.append(Normalisation(scheme))
    return tuple(found)


def _network(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    if "architecture" in settings:
        of = settings["architecture"]
        network = str(of["network_class_name"]).rpartition(".")[2]
        arguments, classes = dict(of["arch_kwargs"]), tuple(of["_kw_requires_import"])
    else:
        network = settings["UNet_class_name"]
        arguments, classes = {}, ("conv_op", "norm_op", "dropout_op", "nonlin")
    if network not in NETWORKS:
        raise ResultsError(f"plans.json has the network {network}: {' and '.join(NETWORKS)} can be built")
    return network, arguments or _older(settings, NETWORKS[network]), classes


def _older(settings: Mapping[str, Any], depth: str) -> dict[str, Any]:
    """The arguments of the network from plans as they were before nnU-Net 2.4."""
    stages = len(settings["n_conv_per_stage_encoder"])
    first, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
    return {
        "n_stages": stages,
        "features_per_stage": [min(first * 2**stage, most) for stage in range(stages)],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        depth: settings["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def _both(stride: int | Sequence[int]) -> tuple[int, int]:
    return (stride, stride) if isinstance(stride, int) else (int(stride[0]), int(stride[1]))
