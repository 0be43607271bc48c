"""Networks without training that behave as if they had some: for measuring speed and memory of published networks."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from edge.frame import Image
from edge.preprocess import InputSpec
from models.bundle_writer import golden_inputs
from models.zoo import MEAN, STD

PICTURES = 48
BATCH = 16
LOGIT_DEVIATION = 1.5
"""Scores that differ from picture to picture, and none so sure of itself that an error in the weights cannot show."""


class Scores(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """A published network as it is published, with softmax at its end.

    float32 (n, 3, height, width) in, RGB, `(value / 255 - MEAN) / STD`; scores (n, labels) out.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Scores of pictures."""
        return self.network(x).softmax(1)


def randomise(network: nn.Module, seed: int, size: int) -> None:
    """Give a network weights by chance, running statistics that fit them, and a last layer that tells pictures apart.

    The last layer looks at where the features of rendered pictures differ most. A random one would look mostly at
    what all pictures have in common, and the rounding of INT8 would drown the rest.

    Args:
        network: its last linear layer makes the logits.
        seed: of everything random.
        size: width and height of its input in pixels.
    """
    # Forked, so that the caller's own random numbers stay as they are.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in network.modules():
            _start(module)
        pictures = normalised(rendered(size, seed, PICTURES))
        _settle_statistics(network, pictures)
        _tell_apart(network, pictures)
    network.eval()


def rendered(size: int, seed: int, count: int) -> Image:
    """`count` rendered pictures, (count, size, size, 3) uint8, BGR."""
    return golden_inputs(InputSpec(size, size, "BGR"), seed, count)


def normalised(pictures: Image) -> Tensor:
    """uint8 (n, height, width, 3) BGR as float32 (n, 3, height, width) RGB, normalised."""
    values = (pictures[..., ::-1].astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.2)
        module.reset_running_stats()
        return
    if getattr(module, "bias", None) is not None and not isinstance(module, nn.BatchNorm2d):
        nn.init.zeros_(module.bias)


def _settle_statistics(network: nn.Module, pictures: Tensor) -> None:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average over all batches
    network.train()
    for batch in pictures.split(BATCH):
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _tell_apart(network: nn.Module, pictures: Tensor) -> None:
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Tensor] = []
    hook = head.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    network.eval()
    for batch in pictures.split(BATCH):
        network(batch)
    hook.remove()
    features = torch.cat(seen)
    centre = features.mean(0)
    _, _, directions = torch.linalg.svd(features - centre, full_matrices=False)
    count = min(head.out_features, len(directions) // 3)  # along the others pictures hardly differ
    head.weight[:count] = directions[:count]
    deviation = ((features - centre) @ head.weight.T).std(0)
    head.weight *= (LOGIT_DEVIATION / deviation.clamp_min(1e-6))[:, None]
    head.bias.copy_(-(head.weight @ centre))
