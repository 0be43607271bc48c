"""What is exported: a network of the zoo between the camera's picture and scores."""

import torch
from torch import Tensor, nn

from models.zoo import Network


class Deployed(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """uint8 (n, height, width, channels) in; softmax scores (n, labels) out, or of a segmenter its logits.

    Args:
        network: its description.
        module: the network itself.
    """

    def __init__(self, network: Network, module: nn.Module) -> None:
        super().__init__()
        self.description = network
        self.network = module

    def forward(self, image: Tensor) -> Tensor:
        """Scores of pictures (n, labels), or logits of their pixels (n, labels, height, width)."""
        x = image.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        logits: Tensor = self.network(self.description.prepare(x))
        return logits if self.description.kind.task == "segmentation" else logits.softmax(1)
