"""MobileNetV3-small (Howard et al., "Searching for MobileNetV3", 2019, table 2).

As in the weights that people use today, the squeezed width is a quarter of the expanded one, to the nearest 8, and
BatchNorm has an epsilon of 0.001. The parameters have the names that torchvision gives them.
"""

import torch.nn.functional as F
from torch import Tensor, nn

# Kernel, expanded width, outputs, squeeze-and-excite, hard swish (else ReLU), stride.
BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
STEM, LAST, HIDDEN = 16, 576, 1024


def _eighths(width: int) -> int:
    """The multiple of 8 nearest to `width`, never below 90 % of it."""
    nearest = max(8, (width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * width else nearest + 8


def _conv(  # noqa: PLR0917  # as of a convolution
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1, activation: type[nn.Module] | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class _SqueezeExcite(nn.Module):  # type: ignore[misc]  # torch is unchecked
    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _eighths(channels // 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Not adaptive_avg_pool2d: torch's exporter writes that with a Gather and a Reshape for each.
        scale = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(scale)


class _Block(nn.Module):  # type: ignore[misc]  # torch is unchecked
    def __init__(
        self, inputs: int, size: int, width: int, outputs: int, *, excite: bool, swish: bool, stride: int
    ) -> None:
        super().__init__()
        activation = nn.Hardswish if swish else nn.ReLU
        layers: list[nn.Module] = []
        if width != inputs:
            layers.append(_conv(inputs, width, 1, activation=activation))
        layers.append(_conv(width, width, size, stride, width, activation))
        if excite:
            layers.append(_SqueezeExcite(width))
        self.block = nn.Sequential(*layers, _conv(width, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        return x + y if self.residual else y


class MobileNetV3Small(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Logits (n, labels) of pictures (n, channels, height, width), normalised.

    Args:
        channels: 3, or 1 for grey pictures.
        labels: how many.
    """

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(channels, STEM, 3, 2, activation=nn.Hardswish)]
        inputs = STEM
        for size, width, outputs, excite, swish, stride in BLOCKS:
            layers.append(_Block(inputs, size, width, outputs, excite=excite, swish=swish, stride=stride))
            inputs = outputs
        self.features = nn.Sequential(*layers, _conv(inputs, LAST, 1, activation=nn.Hardswish))
        self.classifier = nn.Sequential(
            nn.Linear(LAST, HIDDEN), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(HIDDEN, labels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
