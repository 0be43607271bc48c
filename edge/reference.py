"""The reference picture of a line: what its camera saw when it was commissioned, without the parts.

It is the median of some frames, and it knows where something moved meanwhile: only the rest is looked for later. In the
file (PNG) that is its fourth channel, 255 where everything stood still.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.errors import PermanentError
from edge.frame import Image

NOISE = 16
"""Grey levels by which a pixel may differ from all of its neighbourhood in the median."""
SHAKE = 9
"""Pixels of that neighbourhood, at 640 pixels of width or so: a line at work vibrates."""
STILL_WIDTH = 640


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A picture and what of it stands still.

    Attributes:
        image: (height, width, 3) uint8, BGR.
        still: (height, width) uint8, 255 where nothing moved while it was taken, else 0.
    """

    image: Image
    still: Image


def take_reference(frames: Sequence[Image]) -> Reference:
    """From at least one frame, (height, width, 3) uint8, BGR; the more time they cover, the less of the parts is left.

    Each pixel is the median of all frames, so a part must stand to stay in the picture.
    """
    image = np.median(np.stack(frames), axis=0).astype(np.uint8)
    height, width = image.shape[:2]
    scale = max(1.0, width / STILL_WIDTH)
    small = (max(1, round(width / scale)), max(1, round(height / scale)))
    middle = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    around = np.ones((SHAKE, SHAKE), np.uint8)
    low, high = cv2.erode(middle, around), cv2.dilate(middle, around)
    moved = np.zeros(small[::-1], np.uint8)
    for frame in frames:
        seen = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        beyond = cv2.max(cv2.subtract(seen, high), cv2.subtract(low, seen)).max(axis=2)
        moved |= np.asarray(beyond > NOISE, np.uint8)
    moved = np.asarray(cv2.dilate(cv2.morphologyEx(moved, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), around), np.uint8)
    still = cv2.resize((1 - moved) * np.uint8(255), (width, height), interpolation=cv2.INTER_NEAREST)
    return Reference(image, np.asarray(still, np.uint8))


def write_reference(reference: Reference, path: Path) -> None:
    """All of it or nothing; the folder is made if it is not there.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _, png = cv2.imencode(".png", np.dstack((reference.image, reference.still)))
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(png.tobytes())
    new.replace(path)


def read_reference(path: Path) -> Reference | None:
    """What `write_reference` wrote, or any picture: then all of it stands still. None when there is no such file.

    Raises:
        PermanentError: it cannot be read, or is no picture.
    """
    remedy = f"take it again with `edgecls reference {path.stem}`"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PermanentError(f"reference picture {path} cannot be read ({error.strerror}): {remedy}") from error
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if picture is None or picture.dtype != np.uint8:
        raise PermanentError(f"reference picture {path} is damaged: {remedy}")
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    still = picture[..., 3] if picture.shape[2] == 4 else np.full(picture.shape[:2], 255, np.uint8)
    return Reference(np.ascontiguousarray(picture[..., :3]), np.ascontiguousarray(still))
