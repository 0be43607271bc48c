"""What `DefectNet` and `MapNet` have in common, which draw the defects at a quarter of the picture's size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = (0, 1, 1, 1, 1)
"""Residual blocks of the levels of the encoder, from half of the size to a thirty-second."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):  # type: ignore[misc]  # torch is unchecked
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Pyramid(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """An encoder of five levels and a decoder that adds up what four of them saw.

    Args:
        channels: that it is given.
        widths: channels of the five levels.
        decoder: channels of the decoder.
    """

    def __init__(self, channels: int, widths: Sequence[int], decoder: int) -> None:
        super().__init__()
        stages = []
        inputs = channels
        for outputs, blocks in zip(widths, BLOCKS, strict=True):
            stages.append(nn.Sequential(_conv(inputs, outputs, 2), *(_Residual(outputs) for _ in range(blocks))))
            inputs = outputs
        self.encoder = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, decoder, 1) for inputs in widths[1:])
        self.decoder = nn.ModuleList(_conv(decoder, decoder) for _ in widths[2:])

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The deepest features, at 1/32 of the size, and the decoder's, at 1/4.

        Args:
            x: (n, channels, height, width), multiples of 32.
        """
        levels = []
        for stage in self.encoder:
            x = stage(x)
            levels.append(x)
        y = self.lateral[-1](levels[-1])
        for lateral, level, decode in zip(
            reversed(self.lateral[:-1]), reversed(levels[1:-1]), self.decoder, strict=True
        ):
            y = decode(F.interpolate(y, scale_factor=2.0, mode="nearest") + lateral(level))
        return x, y


def believe_the_maps(maps: nn.Conv2d, head: nn.Linear, point: int, patch: int, weight: float) -> None:
    """Begin with a head that believes the maps: what is drawn there speaks for its label and against `ok`.

    Args:
        maps: draws them, one for each defect.
        head: gives the scores, `ok` first.
        point: the first of the head's inputs that tell the strongest point of each map.
        patch: the first of those that tell the strongest patch.
        weight: of both, to begin with.
    """
    nn.init.constant_(maps.bias, -3.0)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    with torch.no_grad():
        for defect in range(maps.out_channels):
            head.weight[defect + 1, point + defect] = weight
            head.weight[defect + 1, patch + defect] = weight
            head.weight[0, point + defect] = -0.1
