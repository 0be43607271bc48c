"""The classifier of `surface-demo`: a small residual encoder, a shallow decoder that draws the defects, a head on both.

    picture -> standardise -> encoder (1/2 .. 1/32) -> decoder (1/4): one defect map per label
                                        |                       |
                                        +----- pooled ----------+--> scores

A few hundred pictures of a few dozen parts are not enough to learn from labels alone what a defect looks like: the
network would learn the parts by heart. The masks tell where to look, and the strongest point of each map goes into
the head, so that a hole of ten pixels is not averaged away. Everything is a plain convolution, an addition or a
pooling: what ONNX Runtime and OpenVINO run fastest in INT8, on Arm too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.zoo.standardise import standardise

WIDTHS = (1, 2, 4, 6, 8)
"""Of the levels of the encoder, in widths of the first."""
BLOCKS = (0, 1, 1, 1, 1)
DECODER = 2


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution of 3x3, its norm and its activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Two of them, added to what they were given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class DefectNet(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Scores and defect maps of pictures.

    Args:
        channels: 1 (grey) or 3.
        labels: how many, the pass label included; it comes first.
        width: channels of the first level.
    """

    def __init__(self, channels: int, labels: int, width: int = 16) -> None:
        super().__init__()
        widths, decoder = [width * times for times in WIDTHS], width * DECODER
        stages = []
        inputs = channels
        for outputs, blocks in zip(widths, BLOCKS, strict=True):
            stages.append(nn.Sequential(conv(inputs, outputs, 2), *(Residual(outputs) for _ in range(blocks))))
            inputs = outputs
        self.encoder = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, decoder, 1) for inputs in widths[1:])
        self.decoder = nn.ModuleList(conv(decoder, decoder) for _ in widths[2:])
        self.maps = nn.Conv2d(decoder, labels - 1, 1)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(widths[-1] + decoder + 3 * (labels - 1), labels)
        self._start_from_the_maps(labels - 1, widths[-1] + decoder)

    def _start_from_the_maps(self, defects: int, first: int) -> None:
        """Begin with a head that believes the maps: what is drawn there speaks for its label and against `ok`."""
        nn.init.constant_(self.maps.bias, -3.0)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            for defect in range(defects):
                self.head.weight[defect + 1, first + defect] = 0.5
                self.head.weight[defect + 1, first + 2 * defects + defect] = 0.5
                self.head.weight[0, first + defect] = -0.1

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, labels) of x, see `draw`."""
        return self.draw(x)[0]

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, labels) and map logits (n, labels - 1, height / 4, width / 4) of x (n, channels, height, width).

        Height and width are multiples of 32; the values are 0 to 1.
        """
        x = standardise(x)
        levels = []
        for stage in self.encoder:
            x = stage(x)
            levels.append(x)
        y = self.lateral[-1](levels[-1])
        for lateral, level, decode in zip(
            reversed(self.lateral[:-1]), reversed(levels[1:-1]), self.decoder, strict=True
        ):
            y = decode(F.interpolate(y, scale_factor=2.0, mode="nearest") + lateral(level))
        maps = self.maps(y)
        pooled = self.dropout(torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1))
        strongest_point = F.adaptive_max_pool2d(maps, 1).flatten(1)
        area = torch.sigmoid(maps).mean((2, 3)) * 10
        strongest_patch = F.adaptive_max_pool2d(F.avg_pool2d(maps, 4), 1).flatten(1)
        return self.head(torch.cat([pooled, strongest_point, area, strongest_patch], 1)), maps
