"""A U-Net: an encoder that looks ever wider, a decoder that brings what it saw back to every pixel, skips between.

    picture -> standardise -> level 0 (full size) ---- skip ----> level 0 -> features of every pixel
                                 | pool                  ^ enlarge
                               level 1 (1/2) --- skip -> level 1
                                 | pool                  ^
                                ...                     ...

With a 1x1 convolution on its features it says what every pixel shows (`Segmenter`); with their mean and a linear layer
it says what the picture shows (`UNetClassifier`). Plain convolutions, max pooling and enlarging by repeating pixels:
what ONNX Runtime and OpenVINO run fastest in INT8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.zoo.standardise import standardise

GAIN = 16.0
"""Of the mean of the features before the linear layer. A scratch covers a hundredth of the pixels: until its weights
are a hundred, which takes an optimiser many small steps, nothing would be heard of it."""
WIDEST = 8
"""No level has more channels than so many times those of the first: the deep ones would hold most of the weights."""


def _double(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, step in ((inputs, stride), (outputs, 1)):
        convolution = nn.Conv2d(before, outputs, 3, step, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Features of every pixel.

    Args:
        channels: 1 (grey) or 3.
        width: channels of the first level; each further level has twice as many, up to `WIDEST` times as many.
        levels: sizes that it looks at, each half of the one before; the input's sides are multiples of 2**(levels - 1).
        skips: how many skip connections are kept, counted from the full size down; None: all, levels - 1.
        stride: 2: the first level has half the size of the picture, and everything takes a quarter of the work.
    """

    def __init__(
        self, channels: int, width: int = 8, levels: int = 6, skips: int | None = None, *, stride: int = 1
    ) -> None:
        super().__init__()
        self.skips = levels - 1 if skips is None else skips
        widths = [width * min(2**level, WIDEST) for level in range(levels)]
        self.encoder = nn.ModuleList(
            _double(before, after, 1 if level else stride)
            for level, (before, after) in enumerate(zip([channels, *widths[:-1]], widths, strict=True))
        )
        self.decoder = nn.ModuleList(
            _double(widths[level + 1] + (widths[level] if level < self.skips else 0), widths[level])
            for level in reversed(range(levels - 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, height / stride, width / stride) of x (n, channels, height, width), whose values are 0 to 1."""
        x = standardise(x)
        seen = []
        for level, stage in enumerate(self.encoder):
            x = stage(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for level, stage in zip(reversed(range(len(seen) - 1)), self.decoder, strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = stage(torch.cat([seen[level], x], 1) if level < self.skips else x)
        return x


class Segmenter(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Logits of every label for every pixel; the arguments are those of `UNet`.

    What is drawn at half the size (`stride`) is enlarged at the end, smoothly.
    """

    def __init__(
        self, channels: int, labels: int, width: int = 12, levels: int = 5, skips: int | None = None, *, stride: int = 2
    ) -> None:
        super().__init__()
        self.stride = stride
        self.body = UNet(channels, width, levels, skips, stride=stride)
        self.head = nn.Conv2d(width, labels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, labels, height, width) of x (n, channels, height, width), whose values are 0 to 1."""
        logits: Tensor = self.head(self.body(x))
        if self.stride > 1:
            logits = F.interpolate(logits, scale_factor=float(self.stride), mode="bilinear", align_corners=False)
        return logits


class UNetClassifier(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Logits of every label for the picture; the arguments are those of `UNet`.

    Masks teach it where to look: a 1x1 convolution that only training uses draws the defects from the same features.
    """

    def __init__(self, channels: int, labels: int, width: int = 8, levels: int = 6, skips: int | None = None) -> None:
        super().__init__()
        self.body = UNet(channels, width, levels, skips)
        self.head = nn.Linear(width, labels)
        self.maps = nn.Conv2d(width, labels - 1, 1)
        nn.init.constant_(self.maps.bias, -3.0)  # defects are rare

    def forward(self, x: Tensor) -> Tensor:
        """(n, labels) of x (n, channels, height, width), whose values are 0 to 1."""
        logits: Tensor = self.head(GAIN * self.body(x).mean((2, 3)))
        return logits

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, labels) and map logits (n, labels - 1, height / 4, width / 4) of x."""
        features = self.body(x)
        return self.head(GAIN * features.mean((2, 3))), self.maps(F.avg_pool2d(features, 4))
