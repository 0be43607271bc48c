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

from models.zoo.pyramid import Pyramid, believe_the_maps
from models.zoo.standardise import standardise

WIDTHS = (1, 2, 4, 6, 8)
"""Of the levels of the encoder, in widths of the first."""
DECODER = 2


class DefectNet(Pyramid):
    """Scores and defect maps of pictures.

    Args:
        channels: 1 (grey) or 3.
        labels: how many, the pass label included; it comes first.
        width: channels of the first level.
    """

    def __init__(self, channels: int, labels: int, width: int = 16) -> None:
        widths, decoder = [width * times for times in WIDTHS], width * DECODER
        super().__init__(channels, widths, decoder)
        self.maps = nn.Conv2d(decoder, labels - 1, 1)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(widths[-1] + decoder + 3 * (labels - 1), labels)
        first, defects = widths[-1] + decoder, labels - 1
        believe_the_maps(self.maps, self.head, first, first + 2 * defects, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, labels) of x, see `draw`."""
        return self.draw(x)[0]

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, labels) and map logits (n, labels - 1, height / 4, width / 4) of x (n, channels, height, width).

        Height and width are multiples of 32; the values are 0 to 1.
        """
        x, y = self.look(standardise(x))
        maps = self.maps(y)
        pooled = self.dropout(torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1))
        strongest_point = F.adaptive_max_pool2d(maps, 1).flatten(1)
        area = torch.sigmoid(maps).mean((2, 3)) * 10
        strongest_patch = F.adaptive_max_pool2d(F.avg_pool2d(maps, 4), 1).flatten(1)
        return self.head(torch.cat([pooled, strongest_point, area, strongest_patch], 1)), maps
