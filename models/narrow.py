"""A network with fewer channels than its description says: what pruning leaves, and how to make it again."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def narrow(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give every layer the channels that its weights in `state` have.

    A network that was pruned is made again so: as its description says, then narrowed, then filled. What does not fit
    afterwards either is of another network.
    """
    for name, layer in module.named_modules():
        weight = state.get(f"{name}.weight")
        if not isinstance(weight, Tensor) or getattr(layer, "weight", None) is None:
            continue
        if not _narrower(weight, layer.weight):
            continue
        if isinstance(layer, nn.Conv2d):
            of_each_channel = layer.groups == layer.in_channels > 1
            layer.groups = len(weight) if of_each_channel else layer.groups
            layer.out_channels, layer.in_channels = len(weight), weight.shape[1] * layer.groups
        elif isinstance(layer, nn.ConvTranspose2d):
            layer.in_channels, layer.out_channels = len(weight), weight.shape[1] * layer.groups
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = weight.shape
        elif isinstance(layer, nn.BatchNorm2d):
            layer.num_features = len(weight)
        else:
            continue
        for kind in ("weight", "bias", "running_mean", "running_var"):
            value, old = state.get(f"{name}.{kind}"), getattr(layer, kind, None)
            if value is None or old is None:
                continue
            new = torch.empty(value.shape, dtype=old.dtype)
            setattr(layer, kind, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)


def _narrower(weight: Tensor, than: Tensor) -> bool:
    """Whether they differ in their channels alone."""
    if weight.ndim != than.ndim or weight.shape[2:] != than.shape[2:] or weight.shape == than.shape:
        return False
    return all(left <= was for left, was in zip(weight.shape, than.shape, strict=True))


def channels_of(module: nn.Module) -> int:
    """The output channels of all convolutions together."""
    return sum(layer.out_channels for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))


def sparsity_of(module: nn.Module) -> float:
    """The share of the weights of convolutions and linear layers that are zero."""
    weights = [one.weight for one in module.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    return float(sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights))
