"""What is exported: a network of the zoo between the camera's picture and scores."""

import copy

import torch
from torch import Tensor, nn

from models.zoo import Network


def answers(network: Network, module: nn.Module, images: Tensor) -> Tensor:
    """What the original says: scores (n, labels), or of a segmenter logits (n, labels, height, width).

    Args:
        network: its description.
        module: the network itself.
        images: (n, height, width, channels) uint8, as the camera gives them.
    """
    logits: Tensor = module(network.prepare(images.permute(0, 3, 1, 2).to(torch.float32) / 255))
    return logits if network.kind.task == "segmentation" else logits.softmax(1)


class Deployed(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """The same as `answers`, with as little as possible to do for each picture.

    Of a network that is given normalised pictures the order of the channels and the factors go into the weights of its
    first convolution. The mean cannot: a convolution pads with zeros, the mean of a normalised picture.

    Args:
        network: its description.
        module: the network itself; it stays as it is.
    """

    def __init__(self, network: Network, module: nn.Module) -> None:
        super().__init__()
        self.standardises = network.kind.standardises
        self.segments = network.kind.task == "segmentation"
        self.network = module if self.standardises else copy.deepcopy(module)
        self.training = module.training
        if not self.standardises:
            mean, std = (torch.tensor(values)[:, None, None] for values in (network.spec.mean, network.spec.std))
            self.register_buffer("mean", 255 * mean)
            first = next(part for part in self.network.modules() if isinstance(part, nn.Conv2d))
            with torch.no_grad():
                weight = first.weight.flip(1) if network.spec.channels == 3 else first.weight
                first.weight.copy_(weight / (255 * std))

    def forward(self, image: Tensor) -> Tensor:
        """Scores of pictures (n, labels), or logits of their pixels (n, labels, height, width)."""
        x = image.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network(x / 255.0 if self.standardises else x - self.mean)
        return logits if self.segments else logits.softmax(1)
