"""What of the picture stands still: is it sharp, is it where it was when the line was commissioned, is it hidden?

    frame --halve, grey--> working picture --how steep are its edges?--> focus
                                |                     (against the reference, else the line's own first minute)
                                |--are the edges of the reference there?--> covered
                                '--where are they?------------------------> moved

Parts come and go, so nothing is asked of a picture as a whole. How steep its steepest edges are is nearly the same with
parts and without, and of the reference only that is looked for in which nothing moved when it was taken.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge.frame import Image
from edge.reference import Reference

Plane = npt.NDArray[np.float32]

HALVED_FROM = 1200
"""Pixels of the longer side, from which on a picture is halved, and halved again."""
CONTRAST = 24
"""Grey levels within 9 x 9 pixels that make an edge, well above noise."""
SOME = (slice(None, None, 3), slice(None, None, 4))
FEW_EDGES = 35
"""Of the pixels that are looked at for the focus, those near an edge, below which a picture says nothing about it."""
STEEPEST = 98
"""Percentile of the steepness that is taken: the edges in focus, not those that are round or move."""
SHARP, SOFT = 0.4, 0.13
"""Steepness of a sharp picture: with softer edges it is measured at half the size. And that of no edge at all."""
USUAL_AT_LEAST, USUAL_AT_MOST = 20, 120
"""Pictures with edges from which it is learnt how steep they are: 10 s before it is judged, 60 s in all."""
USUAL = 10
"""Percentile of these: what stands still may be a little less sharp than the parts."""

BLOCKS = (9, 16)
FEW_BLOCKS = 8
"""Blocks with edges of the reference, below which nothing is said about what is hidden."""
EDGE, FAINT = 10.0, 5.0
"""Grey levels from pixel to pixel that make an edge of the reference, and those that noise alone may make."""
KEPT = 0.3
"""Share of its edges, and of its detail, below which a block is hidden."""
MANY_EDGES = 4000
"""Pixels of edges that are looked at, at most."""

COARSE = 192
"""Pixels of the longer side of the picture in which a displacement is looked for."""
FEW_DIRECTIONS = 0.0001
"""Mean square of the directions in the reference, below which it has nothing that could be found again."""
REACH = 6
"""A displacement is looked for within this part of the longer side."""
FOUND, NOT_THERE = 0.35, 0.5
"""Share of the reference that must be found at one place, and of that what may be left at the old one."""
STEADY = 120
"""Pictures in a row, a minute of them, in which it was found: when it then is not, the camera has turned away. Where
parts fill the whole picture every now and then that means nothing."""

_NEAR, _WIDE = np.ones((5, 5), np.uint8), np.ones((9, 9), np.uint8)


class Figures(NamedTuple):
    """Of one picture; None: it says nothing about that.

    Attributes:
        focus: how steep its edges are, as a share of what is usual.
        moved: by what share of the longer side it lies off the reference.
        covered: share of the reference's edges, by blocks, in whose place nothing is to be seen.
    """

    focus: float | None = None
    moved: float | None = None
    covered: float | None = None


class Structure:
    """Measures pictures of one line, a few times per second. Used by one thread.

    Args:
        reference: taken at commissioning; None: there is none.
    """

    def __init__(self, reference: Reference | None = None) -> None:
        self._reference = reference
        self._size: tuple[int, ...] = ()
        self._focus = _Focus()
        self._edges: _Edges | None = None
        self._place: _Place | None = None

    def measure(self, image: Image) -> Figures:
        """The figures of one picture, (height, width, 3) uint8, BGR."""
        if image.shape != self._size:
            self._start(image.shape)
        grey = _working(image)
        return Figures(
            self._focus.measure(grey),
            self._place.off(grey) if self._place else None,
            self._edges.hidden(grey) if self._edges else None,
        )

    def _start(self, size: tuple[int, ...]) -> None:
        self._size, self._focus, self._edges, self._place = size, _Focus(), None, None
        if self._reference is not None and self._reference.image.shape == size:
            grey, still = _working(self._reference.image), _working(self._reference.still)
            still = np.asarray(cv2.erode(still, _WIDE), np.uint8)
            self._focus.learn(grey)
            self._edges = _Edges(grey, still)
            self._place = _Place(grey, still)


def _working(image: Image) -> Image:
    """Grey, of less than 1200 pixels: cheap, with half the noise, and what a model sees is smaller still."""
    while max(image.shape[:2]) >= HALVED_FROM:
        image = _halved(image)
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _halved(image: Image) -> Image:
    height, width = image.shape[:2]
    # By exactly one half INTER_LINEAR averages four pixels, and is quick.
    size = (max(1, width // 2), max(1, height // 2))
    return np.asarray(cv2.resize(image[: 2 * size[1], : 2 * size[0]], size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _gradient(grey: Image) -> Image:
    """Differences to the next pixel: (height - 1, width - 1) uint8."""
    right, below = cv2.absdiff(grey[:-1, 1:], grey[:-1, :-1]), cv2.absdiff(grey[1:, :-1], grey[:-1, :-1])
    return np.asarray(cv2.max(right, below), np.uint8)


def steepness(grey: Image) -> float | None:
    """How much of an edge's height lies between two neighbouring pixels, where it is steepest; None without edges.

    1 is a step from pixel to pixel, 0.13 a ramp of 9 pixels. It does not depend on light, and little on what is seen.
    """
    height = cv2.subtract(cv2.dilate(grey, _WIDE), cv2.erode(grey, _WIDE))[:-1, :-1][SOME]
    edges = height > CONTRAST
    if np.count_nonzero(edges) < FEW_EDGES:
        return None
    shares = _gradient(grey)[SOME][edges] / height[edges].astype(np.float32)
    place = len(shares) * STEEPEST // 100
    shares.partition(place)
    return float(shares[place])


def _median(grey: Image) -> float:
    return float(np.median(grey[::8, ::8]))


class _Focus:
    """Learns how steep the edges of a line are, and at what size of the picture that is to be measured."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._usual: float | None = None
        self._halvings: int | None = None

    def learn(self, grey: Image) -> None:
        """This is how sharp it should be, if there is any edge."""
        self._usual = self._steepness(grey)

    def measure(self, grey: Image) -> float | None:
        value = self._steepness(grey)
        if value is None:
            return None
        if self._usual is None or self._values:
            self._values.append(value)
            if len(self._values) < USUAL_AT_LEAST:
                return None
            self._usual = float(np.percentile(self._values, USUAL))
            if len(self._values) >= USUAL_AT_MOST:
                self._values = []
        return max(0.0, value - SOFT) / max(0.01, self._usual - SOFT)

    def _steepness(self, grey: Image) -> float | None:
        if self._halvings is not None:
            for _ in range(self._halvings):
                grey = _halved(grey)
            return steepness(grey)
        value, halvings = steepness(grey), 0
        while value is not None and value < SHARP and halvings < 2:
            halvings += 1
            grey = _halved(grey)
            value = steepness(grey)
        if value is not None:
            self._halvings = halvings
        return value


class _Edges:
    """The edges of the reference, by blocks of the picture: is something else to be seen there, or nothing?"""

    def __init__(self, grey: Image, still: Image) -> None:
        gradient = np.where(still[:-1, :-1] > 0, _gradient(grey), 0).astype(np.float32)
        strong = max(EDGE, float(np.percentile(gradient, 90)))
        self._median = max(1.0, _median(grey))
        pixels = np.flatnonzero(gradient >= strong)
        self._pixels = pixels[:: max(1, len(pixels) // MANY_EDGES)]
        self._least = 0.4 * gradient.ravel()[self._pixels]
        rows, columns = (np.arange(n) * blocks // n for n, blocks in zip(gradient.shape, BLOCKS, strict=True))
        block = (rows[:, None] * BLOCKS[1] + columns[None, :]).ravel()
        self._block = block[self._pixels]
        count = np.bincount(self._block, minlength=BLOCKS[0] * BLOCKS[1])
        self._counted = count >= max(4, len(self._pixels) // (4 * len(count)))
        self._count = np.maximum(count, 1)

    def hidden(self, grey: Image) -> float | None:
        if np.count_nonzero(self._counted) < FEW_BLOCKS:
            return None
        gain = min(2.0, max(0.5, _median(grey) / self._median))
        seen = cv2.dilate(_gradient(grey), _NEAR).ravel()[self._pixels] > np.maximum(FAINT, gain * self._least)
        kept = np.bincount(self._block, seen, minlength=len(self._count)) / self._count
        return float(np.mean(kept[self._counted] < KEPT))


class _Place:
    """Where the reference is found in a picture, by the directions of its edges."""

    def __init__(self, grey: Image, still: Image) -> None:
        scale = max(1.0, max(grey.shape) / COARSE)
        self._size = (round(grey.shape[1] / scale), round(grey.shape[0] / scale))
        self._window = np.asarray(cv2.createHanningWindow(self._size, cv2.CV_32F), np.float32)
        standing = cv2.resize(still, self._size, interpolation=cv2.INTER_AREA) > 250
        directions = self._directions(grey) * standing[..., None]
        self._energy = float(np.square(directions).sum())
        self._found = 0
        self._spectrum = cv2.dft(directions, flags=cv2.DFT_COMPLEX_OUTPUT)

    def off(self, grey: Image) -> float | None:
        """By what share of the longer side, 1 when it is found nowhere; None when it never was found for long."""
        if self._energy < FEW_DIRECTIONS * self._size[0] * self._size[1]:
            return None
        spectrum = cv2.dft(self._directions(grey), flags=cv2.DFT_COMPLEX_OUTPUT)
        found = cv2.idft(cv2.mulSpectrums(spectrum, self._spectrum, 0, conjB=True), flags=cv2.DFT_SCALE)[..., 0]
        reach = max(self._size) // REACH
        found[reach:-reach] = found[:, reach:-reach] = 0
        y, x = divmod(int(np.argmax(found)), found.shape[1])
        here = max(found[0, 0], found[0, 1], found[1, 0], found[0, -1], found[-1, 0])
        best = found[y, x] / self._energy
        if best < FOUND:
            if self._found < STEADY:
                self._found = 0
                return None
            return 1.0
        self._found += 1
        if here > NOT_THERE * found[y, x]:
            return 0.0
        height, width = found.shape
        return float(np.hypot(min(x, width - x), min(y, height - y)) / max(width, height))

    def _directions(self, grey: Image) -> Plane:
        """(height, width, 2) float32: the direction of the edges, each of about the same weight."""
        small = cv2.resize(grey, self._size, interpolation=cv2.INTER_AREA)
        across, along = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
        weight = self._window / (cv2.magnitude(across, along) + np.float32(32))
        return np.asarray(cv2.merge((across * weight, along * weight)), np.float32)
