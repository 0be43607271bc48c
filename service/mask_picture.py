"""A mask drawn onto the picture that it was made of, for people."""

from pathlib import Path

import cv2
import numpy as np

from edge.errors import PermanentError
from edge.frame import Image
from edge.segmentation import MaskReader

COLOURS = ((60, 60, 255), (60, 220, 60), (255, 120, 40), (40, 220, 255), (255, 80, 220), (220, 220, 60))
"""BGR, by the number of the label; they come again after these."""


def drawn(image: Image, reader: MaskReader, pass_label: int) -> Image:
    """A copy of the image, (height, width, 3) uint8, BGR, with what the reader has read last in colours."""
    top, left, height, width = reader.preprocess.shown.image
    mask = cv2.resize(reader.mask, (width, height), interpolation=cv2.INTER_NEAREST)
    picture = image.copy()
    part = picture[top : top + height, left : left + width]
    for label in np.unique(mask).tolist():
        if label != pass_label:
            here = mask == label
            part[here] = part[here] // 2 + np.array(COLOURS[label % len(COLOURS)], np.uint8) // 2
    return picture


def write_image(path: Path, image: Image) -> None:
    """Write an image file.

    Raises:
        PermanentError: it cannot be written.
    """
    try:
        _, encoded = cv2.imencode(path.suffix or ".png", image)
        path.write_bytes(encoded.tobytes())
    except (OSError, cv2.error) as error:
        why = error.strerror if isinstance(error, OSError) else "no such kind of image file"
        raise PermanentError(f"{path} cannot be written ({why}): give a .png in a folder that is there") from error
