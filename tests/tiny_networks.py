"""Every network of the zoo, so small that it is made and run in no time."""

from edge.preprocess import Colour
from models.zoo import Network, describe

TINY = {name: {"width": 2} for name in ("defect-net", "map-net")}
TINY |= {name: {"width": 4} for name in ("resnet18", "resnet50")} | {"mobilenetv3-small": {}}
TINY |= {name: {"width": 2, "levels": 3} for name in ("unet-classifier", "unet-segmenter")}


def tiny(name: str, colour: Colour = "BGR", labels: tuple[str, ...] = ("ok", "dent", "划痕")) -> Network:
    return describe(name, labels, (32, 32), colour, TINY[name])
