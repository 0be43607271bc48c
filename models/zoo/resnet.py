"""ResNet-18 and ResNet-50 (He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, table 1).

The bottleneck has its stride in the 3x3 convolution, not in the first 1x1 one: what the weights that people use today
were trained with. The number of parameters is the same. The parameters have the names that torchvision gives them.
"""

import torch.nn.functional as F
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class _Block(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times the width; the first 3x3 one has the stride."""

    def __init__(self, inputs: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        sizes = ((1, 1), (3, stride), (1, 1)) if bottleneck else ((3, stride), (3, 1))
        self.count = len(sizes)
        before = inputs
        for number, (size, step) in enumerate(sizes, 1):
            after = outputs if number == self.count else width
            self.add_module(f"conv{number}", _conv(before, after, size, step))
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
            before = after
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            y = F.relu(y) if number < self.count else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Logits (n, labels) of pictures (n, channels, height, width), normalised.

    Args:
        blocks: how many in each of the four stages.
        channels: 3, or 1 for grey pictures.
        labels: how many.
        width: channels of the first stage; 64 as published.
        bottleneck: 1x1, 3x3, 1x1 with four times the width, or two 3x3.
    """

    def __init__(
        self, blocks: tuple[int, int, int, int], channels: int, labels: int, width: int, *, bottleneck: bool
    ) -> None:
        super().__init__()
        self.conv1 = _conv(channels, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(blocks):
            layer = []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                layer.append(_Block(inputs, width << stage, stride, bottleneck=bottleneck))
                inputs = (width << stage) * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, labels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


def resnet18(channels: int, labels: int, width: int = 64) -> ResNet:
    """ResNet-18."""
    return ResNet((2, 2, 2, 2), channels, labels, width, bottleneck=False)


def resnet50(channels: int, labels: int, width: int = 64) -> ResNet:
    """ResNet-50."""
    return ResNet((3, 4, 6, 3), channels, labels, width, bottleneck=True)
