"""From a frame to a JPEG, large for people and the workshop, small for a gallery and for MQTT."""

import cv2
import numpy as np

from edge.frame import Image

SMALL_PX = 320
"""Width of a small picture, at most."""
SMALL_QUALITY = 75


def jpeg(image: Image, quality: int) -> bytes:
    """A (height, width, 3) uint8 BGR image as JPEG, `quality` 1 to 100."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def small(image: Image) -> bytes:
    """The same, no wider than `SMALL_PX`."""
    height, width = image.shape[:2]
    if width > SMALL_PX:
        size = (SMALL_PX, max(1, round(height * SMALL_PX / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # no dtype in its stubs
    return jpeg(image, SMALL_QUALITY)


def decoded(data: bytes) -> Image | None:
    """(height, width, 3) uint8 BGR of a JPEG, None when it is none."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]  # OpenCV's stubs know no dtype
    except cv2.error:
        return None


def with_comment(data: bytes, comment: bytes) -> bytes:
    """A JPEG with a comment in it (segment COM of ISO/IEC 10918-1, B.2.4.5), at most 65533 bytes."""
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]
