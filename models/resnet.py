"""ResNet-18 and ResNet-50 (He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, table 1).

The bottleneck has its stride in the 3x3 convolution, not in the first 1x1 one: what the weights that people use today
were trained with. The number of parameters is the same.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STEM = 64


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class _Block(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """A residual block; `layers` are (kernel, outputs) pairs, and the first 3x3 one has the stride."""

    def __init__(self, inputs: int, layers: tuple[tuple[int, int], ...], stride: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        outputs, left = inputs, stride
        for size, width in layers:
            here = left if size == 3 else 1
            left = 1 if size == 3 else left
            self.layers.append(_conv(outputs, width, size, here))
            outputs = width
        self.shortcut = _conv(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers[:-1]:
            y = F.relu(layer(y))
        return F.relu(self.layers[-1](y) + self.shortcut(x))


class ResNet(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Logits (n, labels) of pictures (n, 3, height, width), normalised.

    Args:
        blocks: how many in each of the four stages.
        bottleneck: 1x1, 3x3, 1x1 with four times the width, or two 3x3.
        labels: how many.
    """

    def __init__(self, blocks: tuple[int, int, int, int], labels: int, *, bottleneck: bool) -> None:
        super().__init__()
        self.stem = _conv(3, STEM, 7, 2)
        stages, inputs = [], STEM
        for stage, count in enumerate(blocks):
            width = STEM << stage
            layers = ((1, width), (3, width), (1, 4 * width)) if bottleneck else ((3, width), (3, width))
            for number in range(count):
                stages.append(_Block(inputs, layers, 2 if stage > 0 and number == 0 else 1))
                inputs = layers[-1][1]
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, labels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        return self.head(self.stages(x).mean((2, 3)))


def resnet18(labels: int) -> ResNet:
    """ResNet-18."""
    return ResNet((2, 2, 2, 2), labels, bottleneck=False)


def resnet50(labels: int) -> ResNet:
    """ResNet-50."""
    return ResNet((3, 4, 6, 3), labels, bottleneck=True)
