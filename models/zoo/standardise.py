"""What networks do to a picture first that normalise each by its own values."""

from torch import Tensor


def standardise(x: Tensor) -> Tensor:
    """Each picture to mean 0 and deviation 1: exposure and gain of the camera say nothing about the part."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    deviation = (x * x).mean((1, 2, 3), keepdim=True).sqrt()
    return x / (deviation + 0.02)
