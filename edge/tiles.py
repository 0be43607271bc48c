"""`resize: tile`: a region of interest at its own scale, cut into tiles that the model sees together, in one batch.

|<- tile 0 ->|                Neighbours overlap, so that what lies on the edge of one is in the middle of another;
       |<- tile 1 ->|         each pixel's answer comes from the tile in whose middle it lies most.
|  of 0 |  of 1 ...
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edge.errors import BadFrameError
from edge.frame import Image
from edge.preprocess import InputSpec, Shown

MOST_TILES = 64
"""For one frame: more would take seconds and much memory, and are rather a mistake in the configuration."""


@dataclass(frozen=True, slots=True)
class _Tile:
    """Where it lies in the region, and the part of it that its answer is used for; along one axis, in pixels."""

    start: int
    stop: int
    own_start: int
    own_stop: int


def grid(spec: InputSpec, height: int, width: int) -> list[tuple[_Tile, _Tile]]:
    """The tiles of a region, (down, across) each.

    Raises:
        BadFrameError: there would be more than `MOST_TILES`.
    """
    count = math.prod(
        _count(*axis) for axis in ((height, spec.height, spec.overlap), (width, spec.width, spec.overlap))
    )
    if count > MOST_TILES:
        raise BadFrameError(
            f"a region of {width}x{height} pixels takes {count} tiles of {spec.width}x{spec.height}, and there may be "
            f"{MOST_TILES}: make roi smaller, or use a model with a larger input"
        )
    down, across = _along(height, spec.height, spec.overlap), _along(width, spec.width, spec.overlap)
    return [(rows, columns) for rows in down for columns in across]


def _count(length: int, size: int, overlap: int) -> int:
    return max(1, math.ceil((length - overlap) / (size - overlap)))


def _along(length: int, size: int, overlap: int) -> list[_Tile]:
    starts = np.linspace(0, max(0, length - size), _count(length, size, overlap)).round().astype(int).tolist()
    stops = [min(start + size, length) for start in starts]
    middles = [(stop + start) // 2 for stop, start in zip(stops[:-1], starts[1:], strict=True)]
    return [_Tile(*of) for of in zip(starts, stops, [0, *middles], [*middles, length], strict=True)]


class TilePreprocessor:
    """Writes frames into an input that grows with their size. Used by one thread.

    Args:
        spec: what the model expects of each tile.
        room: makes an input for so many tiles, (n, height, width, channels) uint8.
    """

    def __init__(self, spec: InputSpec, room: Callable[[int], Image]) -> None:
        self._spec = spec
        self._room = room
        self._size = (0, 0)
        self._grid: list[tuple[_Tile, _Tile]] = []
        self._targets: list[Image] = []
        self._beside: Image | None = None

    def __call__(self, image: Image) -> None:
        """Write `image` ((height, width, 3) uint8, BGR) into the input.

        Raises:
            BadFrameError: it takes too many tiles.
            EngineError: the engine has failed, and there is no room.
        """
        self.arrange(image.shape[0], image.shape[1])
        for (rows, columns), target in zip(self._grid, self._targets, strict=True):
            self._copy(image[rows.start : rows.stop, columns.start : columns.stop], target)

    def arrange(self, height: int, width: int) -> None:
        """Make room for images of that size.

        Raises:
            BadFrameError, EngineError: as above.
        """
        if (height, width) == self._size:
            return
        self._grid = grid(self._spec, height, width)
        whole = self._room(len(self._grid))
        whole[...] = self._spec.fill
        self._targets = [
            tile[: rows.stop - rows.start, : columns.stop - columns.start]
            for tile, (rows, columns) in zip(whole, self._grid, strict=True)
        ]
        self._beside = None
        self._size = (height, width)

    @property
    def shown(self) -> Shown:
        """Every pixel of the image is shown, at its own scale."""
        whole = (0, 0, *self._size)
        return Shown(whole, whole, math.prod(self._size))

    def blank(self, background: Image, start: float, stop: float, axis: int) -> None:
        """As `Preprocessor.blank`."""
        height, width = self._size
        if self._beside is None:
            self._beside = np.empty((height, width, self._spec.channels), np.uint8)
        enlarged = cv2.resize(background, (width, height), interpolation=cv2.INTER_LINEAR)
        self._copy(np.asarray(enlarged, np.uint8), self._beside)
        length = width if axis == 0 else height
        first, last = math.floor(start * length), math.ceil(stop * length)
        for (rows, columns), target in zip(self._grid, self._targets, strict=True):
            here, there = target, self._beside[rows.start : rows.stop, columns.start : columns.stop]
            begin = columns.start if axis == 0 else rows.start
            if axis == 1:
                here, there = here.swapaxes(0, 1), there.swapaxes(0, 1)
            low, high = max(0, first - begin), max(0, last - begin)
            here[:, :low] = there[:, :low]
            here[:, high:] = there[:, high:]

    def stitch(self, answers: Image, out: Image) -> None:
        """Put what the model said about each tile together.

        Args:
            answers: (n, height, width) uint8, of the tiles.
            out: (height, width) uint8, of the image.
        """
        for answer, (rows, columns) in zip(answers, self._grid, strict=True):
            out[rows.own_start : rows.own_stop, columns.own_start : columns.own_stop] = answer[
                rows.own_start - rows.start : rows.own_stop - rows.start,
                columns.own_start - columns.start : columns.own_stop - columns.start,
            ]

    def _copy(self, source: Image, target: Image) -> None:
        if self._spec.channels == 1:
            cv2.cvtColor(source, cv2.COLOR_BGR2GRAY, dst=target)
        else:
            np.copyto(target, source)
