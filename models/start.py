"""Beginning a training with weights that are there: of a run of the workshop, or a file of torchvision's."""

from pathlib import Path

from torch import Tensor, nn

from models.checkpoint import FILE, FORM, read_weights

LEAST_SHARE = 0.9
"""Of the weights that have to fit. Below it the file is of another network: half of a ResNet-18 finds its like in a
ResNet-50."""


def start_from(module: nn.Module, path: Path) -> list[str]:
    """Fill a network with what fits of a file; the rest, as the last layer for other labels, stays as it is.

    The first convolution of a network for grey pictures takes the sum over the colours.

    Args:
        module: filled.
        path: the folder of a run, or a file with weights by name.

    Returns:
        The names of the weights that stay as they are.

    Raises:
        ValueError: there is no such file, or little of it fits.
    """
    file = path / FILE if path.is_dir() else path
    saved = read_weights(file, "give the folder of a run, or weights that torch saved")
    state = saved["state"] if saved.get("form") == FORM else saved
    wanted = module.state_dict()
    found = {name: _as_grey(state[name], value) for name, value in wanted.items() if _fits(state.get(name), value)}
    if sum(value.numel() for value in found.values()) < LEAST_SHARE * sum(value.numel() for value in wanted.values()):
        raise ValueError(
            f"{file} has {len(found)} of the {len(wanted)} weights of this network: give a file of the same network"
        )
    module.load_state_dict(found, strict=False)
    return [name for name in wanted if name not in found]


def _fits(found: object, wanted: Tensor) -> bool:
    return isinstance(found, Tensor) and (found.shape == wanted.shape or _of_colours(found, wanted))


def _of_colours(found: Tensor, wanted: Tensor) -> bool:
    outputs, channels, *kernel = wanted.shape if wanted.ndim == 4 else (0, 0)
    return bool(channels == 1 and tuple(found.shape) == (outputs, 3, *kernel))


def _as_grey(found: Tensor, wanted: Tensor) -> Tensor:
    return found.sum(1, keepdim=True) if found.shape != wanted.shape else found
