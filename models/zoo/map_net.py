"""A classifier that judges by the maps of the defects alone, and so can learn from cuts: that of `magnetic-tile`.

    picture -> light removed -> encoder (1/2 .. 1/32) -> decoder (1/4): one defect map per label -> head -> scores

It has the encoder and decoder of `DefectNet`, narrower, but no way from the features of the whole picture to the
scores: those are what a network knows the parts by that it was trained on. How strong a map is somewhere, and how much
of it there is, do not depend on the size of what is looked at either.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.zoo.pyramid import Pyramid, believe_the_maps

WIDTHS = (1, 1.5, 3, 5, 7)
"""Of the levels of the encoder, in widths of the first."""
DECODER = 1.5
COARSE = 8
"""Side of the cells over which the light is averaged first, px."""


class MapNet(Pyramid):
    """Scores and defect maps of pictures.

    Args:
        channels: 1 (grey) or 3.
        labels: how many, the pass label included; it comes first.
        width: channels of the first level, an even number.
    """

    def __init__(self, channels: int, labels: int, width: int = 16) -> None:
        decoder = int(width * DECODER)
        super().__init__(2 * channels, [int(width * times) for times in WIDTHS], decoder)
        self.dropout = nn.Dropout2d(0.1)
        self.maps = nn.Conv2d(decoder, labels - 1, 1)
        self.head = nn.Linear(3 * (labels - 1), labels)
        believe_the_maps(self.maps, self.head, 0, labels - 1, 0.4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, labels) of x, see `draw`."""
        return self.draw(x)[0]

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, labels) and map logits (n, labels - 1, height / 4, width / 4) of x (n, channels, height, width).

        Height and width are multiples of 32; the values are 0 to 1.
        """
        _, y = self.look(without_light(x))
        maps = self.maps(self.dropout(y))
        strongest_point = F.adaptive_max_pool2d(maps, 1).flatten(1)
        strongest_patch = F.adaptive_max_pool2d(F.avg_pool2d(maps, 3, 1, 1), 1).flatten(1)
        area = torch.log1p(torch.sigmoid(maps).sum((2, 3)))
        return self.head(torch.cat([strongest_point, strongest_patch, area], 1)), maps


def without_light(x: Tensor) -> Tensor:
    """(n, 2 * channels, height, width) of (n, channels, height, width), 0 to 1: the surface, and its light.

    In logarithms the light, the exposure and the gain are added to what the surface reflects. What is left when the
    mean of the surroundings is taken away is the surface, here with deviation 1; the rest tells how large faces differ.
    """
    logarithm = torch.log(x + 0.04)
    light = F.avg_pool2d(F.avg_pool2d(logarithm, COARSE), 5, 1, 2, count_include_pad=False)
    mean = light.mean((1, 2, 3), keepdim=True)
    smooth = F.interpolate(light, scale_factor=float(COARSE), mode="bilinear", align_corners=False)
    surface = logarithm - smooth
    deviation = (surface * surface).mean((1, 2, 3), keepdim=True).sqrt()
    return torch.cat([surface / (deviation + 0.03), smooth - mean], 1)
