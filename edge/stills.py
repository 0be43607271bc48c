"""Copies of the frames that a reject or a review is about, for whoever wants to see them later.

The frame that shows a part best has passed when its decision is made, so it is copied when it is seen: into a buffer
that is used again, and only when what the model said of it is no clear pass. Nothing is copied on a line of good parts.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.frame import Frame, Image

POOL_BYTES = 64 * 1024 * 1024
LEAST, MOST = 2, 8
"""Buffers of one line, made when they are first needed."""


@dataclass(frozen=True, slots=True)
class About:
    """What a line's stills have in common.

    Attributes:
        labels: those of the model, in its order.
        roi: the region of interest, x, y, width, height; None: the whole frame.
    """

    labels: tuple[str, ...] = ()
    roi: tuple[int, int, int, int] | None = None


class Still:
    """A copy of a frame. Who lets go of it last gives its buffer back.

    Attributes:
        image: (height, width, 3) uint8, BGR.
        seq: of the frame.
        captured_at_ns: UTC, nanoseconds.
        score: of the label that it stands for, 0 to 1.
        about: what is the same for all of the line.
    """

    __slots__ = ("_free", "about", "captured_at_ns", "image", "score", "seq")

    def __init__(self, image: Image, frame: Frame, score: float, about: "About", free: "deque[Image]") -> None:
        self.image = image
        self.about = about
        self.seq = frame.seq
        self.captured_at_ns = frame.captured_at_ns
        self.score = score
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.image)


class Stills:
    """The buffers of one line. Used by its inspecting thread; stills may be let go of in any.

    Args:
        about: the line.
        wanted: whether whoever keeps them could take one now.
    """

    def __init__(self, about: About, wanted: Callable[[], bool]) -> None:
        self._about = about
        self._wanted = wanted
        self._free: deque[Image] = deque()
        self._made = 0
        self._shape: tuple[int, ...] = ()
        self.frame: Frame | None = None
        """The one at hand, while its image is valid."""

    def take(self, score: float = 0.0, instead_of: Still | None = None) -> Still | None:
        """A copy of the frame at hand; None when none is wanted now, or no buffer is free.

        Args:
            score: of the label that it stands for.
            instead_of: a worse one, which becomes this one.
        """
        frame = self.frame
        if frame is None:
            return None
        if instead_of is not None and instead_of.image.shape == frame.image.shape:
            np.copyto(instead_of.image, frame.image)
            instead_of.seq, instead_of.captured_at_ns, instead_of.score = frame.seq, frame.captured_at_ns, score
            return instead_of
        buffer = self._buffer(frame.image) if self._wanted() else None
        if buffer is None:
            return None
        np.copyto(buffer, frame.image)
        return Still(buffer, frame, score, self._about, self._free)

    def _buffer(self, image: Image) -> Image | None:
        if image.shape != self._shape:  # the camera was exchanged: those of the old size are let go as they come back
            self._shape, self._free, self._made = image.shape, deque(), 0
        if self._free:
            return self._free.popleft()
        if self._made >= min(MOST, max(LEAST, POOL_BYTES // image.nbytes)):
            return None
        self._made += 1
        return np.empty_like(image)
