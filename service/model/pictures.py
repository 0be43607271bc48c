"""The pictures of `--images`: for calibration, and as golden inputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.errors import BadFrameError
from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from service.model.facts import ModelFileError

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_MOST = 256
_SMALLEST = 4
"""How many times smaller than the model's input a picture may be: what is blown up more shows the model nothing."""


def find_pictures(folder: Path) -> list[Path]:
    """At most 256 picture files below a folder, spread evenly over all of them.

    Raises:
        ModelFileError: there is none.
    """
    if not folder.is_dir():
        raise ModelFileError(f"--images {folder} is no folder: give one with pictures of your parts")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not files:
        raise ModelFileError(f"--images {folder} has no pictures ({', '.join(sorted(_SUFFIXES))}): put some there")
    return spread(files, _MOST)


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """`count` of them, evenly."""
    chosen = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [files[index] for index in chosen]


def prepared(files: Sequence[Path], spec: InputSpec) -> Image:
    """(n, height, width, channels) uint8: pictures through the very preprocessing of the daemon.

    Raises:
        ModelFileError: one cannot be read, or is much smaller than what the model looks at.
    """
    pictures: Image = np.empty((len(files), *spec.shape[1:]), np.uint8)
    target: Image = np.empty(spec.shape, np.uint8)
    preprocess = Preprocessor(spec, target)
    for file, into in zip(files, pictures, strict=True):
        try:
            image = read_image(file)
        except BadFrameError as error:
            raise ModelFileError(str(error)) from error
        height, width = image.shape[:2]
        if height * _SMALLEST < spec.height or width * _SMALLEST < spec.width:
            raise ModelFileError(
                f"image {file} is {width}x{height}, and the model looks at {spec.width}x{spec.height}: "
                "take pictures of the camera"
            )
        preprocess(image)
        into[...] = target[0]
    return pictures
