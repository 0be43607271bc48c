"""What a model file does not do itself, done on the host: order of the channels, normalisation, layout.

For models that were not extended when their bundle was made (see docs/bundles.md). ONNX Runtime needs it; OpenVINO
builds the same into its graph.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge.frame import Image
from edge.preprocess import InputSpec


class HostInput:
    """Turns what the preprocessor writes into what the file takes, in an array that is made once.

    Args:
        spec: what the file takes.
        image: (n, height, width, channels) uint8, BGR or grey.
    """

    def __init__(self, spec: InputSpec, image: Image) -> None:
        pictures, height, width, channels = image.shape
        channels_first = spec.layout == "NCHW"
        shape = (pictures, channels, height, width) if channels_first else image.shape
        self.array: npt.NDArray[Any] = np.zeros(shape, spec.dtype)
        self._steps = []
        for channel in range(channels):
            source = image[..., channels - 1 - channel if spec.colour == "RGB" else channel]
            target = self.array[:, channel] if channels_first else self.array[..., channel]
            mean, std = (spec.mean[channel], spec.std[channel]) if spec.dtype == "float32" else (0.0, 1.0)
            self._steps.append((source, target, np.float32(1 / (255 * std)), np.float32(-mean / std)))
        self._as_it_is = spec.dtype == "uint8"

    def __call__(self) -> None:
        """Convert what the image holds now."""
        for source, target, scale, offset in self._steps:
            if self._as_it_is:
                np.copyto(target, source)
            else:
                np.multiply(source, scale, out=target, dtype=np.float32)
                np.add(target, offset, out=target)
