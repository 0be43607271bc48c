"""Where parts are in view: the difference against the empty background, which is learnt and kept up to date.

    region of interest --shrink--> small picture --minus background x light--> foreground --> occupied stretches

Nothing is asked of the model here, so it works with every model. The background is learnt from whatever is not
covered by a part; where a part stands, nothing is learnt, so that a part that stops does not fade into the belt.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.frame import Image

Plane = npt.NDArray[np.float32]

LONG_SIDE = 320
"""Pixels of the small picture. Gaps between parts are seen down to about 1 % of the view."""
ACROSS = 120
"""Pixels of it across the travel, at least, or all that there are: the least part covers 6 of them."""
TURNS = 4
"""The background is learnt from every 4th frame, and what is slow to change is measured on every 4th."""
LEARNING_RATE = 0.2
"""Share of the present picture that the background takes over each time: it follows in about 20 frames."""
STEADY = 0.003
"""Share of the light that may have changed before the background follows: less than one grey level."""
DARK = 8.0
"""Mean grey level below which a picture shows nothing to be learnt: a camera that wakes up, a lamp that is off."""
COVERED_FRAMES = 300
"""After so many frames without any background in view it is learnt anew: the camera was moved, or began in the dark."""
FAINTEST = 24
"""Grey levels, summed over three channels, below which a difference is never a part."""


@dataclass(frozen=True, slots=True)
class Foreground:
    """What differs from the empty background in one frame.

    Attributes:
        mask: (height, width) uint8 of the small picture, which may be thinned out across the travel, 255 where
            something lies.
        strength: (height, width) uint8, by how much it differs there, 0 outside of the mask.
    """

    mask: Image
    strength: Image

    def profile(self, axis: int) -> tuple[Plane, Plane]:
        """Along `axis` (0: x, 1: y): the share of the mask that is covered, 0 to 1, and the mean strength."""
        return self.covered(axis), _mean(self.strength, axis)

    def covered(self, axis: int) -> Plane:
        """The first of the two alone."""
        return _mean(self.mask, axis) / np.float32(255)

    def girth(self, axis: int) -> Plane:
        """Along `axis`: how far it reaches across, in pixels, times how much it differs there; holes do not count."""
        first, last = (cv2.reduceArgMax(self.mask, axis, lastIndex=last).ravel() for last in (False, True))
        covered = self.covered(axis)
        differs = np.divide(_mean(self.strength, axis), covered, out=np.zeros_like(covered), where=covered > 0)
        return np.asarray((last + 1 - first) * differs, np.float32)


def _mean(plane: Image, axis: int) -> Plane:
    return np.asarray(cv2.reduce(plane, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel(), np.float32)


class Background:
    """The empty view, learnt while parts pass. Used by one thread; its buffers are made with the first frame.

    The first frame gives the first guess: what is alike along its rows or along its columns is the belt, what is not
    may be a part. A change of the light as a whole is measured on what is known to be background and taken out.

    Once it is known which way parts travel, the small picture is thinned out across the travel: what matters is where
    along the travel a part begins and ends.
    """

    def __init__(self) -> None:
        self._image_size = (0, 0)
        self._size = (0, 0)
        self._axis: int | None = None
        self._count = 0
        self._covered_for = 0
        self._whole_is_new = False

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the small picture, in whose pixels places are given; thinned out, it keeps them."""
        return self._size

    @property
    def picture(self) -> Image:
        """(height, width, 3) uint8, BGR: the background as it would look in the light of the last frame."""
        if self._now.shape == self._whole.shape:
            return self._now
        if not self._whole_is_new:
            cv2.resize(self._now, self._size, dst=self._whole, interpolation=cv2.INTER_NEAREST)
            self._whole_is_new = True
        return self._whole

    def thin_out(self, axis: int) -> None:
        """From the next picture on, for as long as `size` stays; parts travel along `axis` (0: x, 1: y)."""
        if self._axis == axis:
            return
        learnt, near = self._learnt, self._near
        self._make_buffers(axis)
        cv2.resize(learnt, self._near.shape[::-1], dst=self._learnt, interpolation=cv2.INTER_LINEAR)
        cv2.resize(near, self._near.shape[::-1], dst=self._near, interpolation=cv2.INTER_NEAREST)
        self._renew()

    def subtract(self, image: Image) -> Foreground:
        """What differs in `image` ((height, width, 3) uint8, BGR), learning from the rest."""
        if self._image_size != image.shape[:2] or self._is_dark or self._covered_for > COVERED_FRAMES:
            self._start(image)
        self._shrink(image)
        self._follow_the_light()
        cv2.absdiff(self._small, self._now, dst=self._difference)
        cv2.split(self._difference, mv=self._channels)
        blue, green, red = self._channels
        cv2.add(cv2.add(blue, green, dst=self._strength), red, dst=self._strength)
        threshold = max(FAINTEST, 3.0 * self._noise, 0.3 * self._contrast)
        cv2.threshold(self._strength, threshold, 255, cv2.THRESH_BINARY, dst=self._mask)
        self._smooth()
        turn = self._count % TURNS
        if turn == 0:
            self._learn()
        elif turn == TURNS // 2:
            self._measure()
        self._count += 1
        cv2.bitwise_and(self._strength, self._mask, dst=self._strength)
        return Foreground(self._mask, self._strength)

    def absorb(self, low: float, high: float, axis: int) -> None:
        """Take what lies between two places along `axis` for background: it has turned out to be no part."""
        inside = slice(max(0, round(low)), max(0, round(high)))
        there = (slice(None), inside) if axis == 0 else (inside, slice(None))
        self._learnt[there] = self._small[there]
        self._renew()

    def _start(self, image: Image) -> None:
        height, width = image.shape[:2]
        scale = min(1.0, LONG_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        axis = self._axis if size == self._size else None
        self._image_size, self._size = (height, width), size
        self._whole = np.empty((size[1], size[0], 3), np.uint8)
        self._make_buffers(axis)
        self._shrink(image)
        self._learnt[...] = _first_guess(self._small)
        self._noise = 8.0
        self._contrast = 0.0
        self._count = 0
        self._covered_for = 0
        self._renew()

    def _make_buffers(self, axis: int | None) -> None:
        """Those of the small picture, of which every `_step`th row of the image is the raw material."""
        self._axis = axis
        width, height = self._size
        rows, columns = self._image_size
        fold = 2 if rows >= 2 * height and columns >= 2 * width else 1
        self._step = max(1, rows // (fold * min(height, ACROSS) if axis == 0 else fold * height))
        if axis == 0:
            height = len(range(self._step // 2, rows, self._step)) // fold
        elif axis == 1:
            width = min(width, ACROSS)
        shape = (height, width)
        self._small, self._now, self._seen, self._difference = (np.empty((*shape, 3), np.uint8) for _ in range(4))
        self._halved = None if fold == 1 else np.empty((height, columns // 2, 3), np.uint8)
        self._learnt = np.empty((*shape, 3), np.float32)
        self._channels = [np.empty(shape, np.uint8) for _ in range(3)]
        self._strength, self._mask, self._near, self._free = (np.zeros(shape, np.uint8) for _ in range(4))
        self._grid = (slice(None, None, max(1, height // 24)), slice(None, None, max(1, width // 40)))

    def _shrink(self, image: Image) -> None:
        """Not every row is needed: averaging all of a large picture takes longer than everything else here.

        Halving it averages four pixels, so that noise is no part, and is quick; two of these are averaged after it.
        """
        rows = image[self._step // 2 :: self._step]
        if self._halved is not None:
            height, width = self._halved.shape[:2]
            rows = rows[: 2 * height, : 2 * width]
            cv2.resize(rows, (width, height), dst=self._halved, interpolation=cv2.INTER_AREA)
            rows = self._halved
        if rows.shape == self._small.shape:
            np.copyto(self._small, rows)
        else:
            cv2.resize(rows, self._small.shape[1::-1], dst=self._small, interpolation=cv2.INTER_LINEAR)

    def _smooth(self) -> None:
        """Take single pixels out of the mask, close its small holes, and see what is near to it."""
        cv2.erode(self._mask, _SMALL, dst=self._mask)
        if cv2.countNonZero(self._mask):
            cv2.dilate(self._mask, _LARGER, dst=self._mask)
            cv2.erode(self._mask, _SMALL, dst=self._mask)
            cv2.dilate(self._mask, _WIDE[self._axis], dst=self._near)
        else:
            self._near[...] = 0

    def _follow_the_light(self) -> None:
        """Scale the whole background, also where parts hide it, as the part of it that is in view has changed."""
        free = np.flatnonzero(self._near[self._grid] == 0)
        if len(free) <= self._sample.shape[1] // 20:
            return  # too little of it to be seen: the light is taken to be as before
        gain = self._take_sample(self._small) / self._sample
        if len(free) < gain.shape[1]:
            gain = gain.take(free, axis=1)
        middle = gain.shape[1] // 2
        gain.partition(middle, axis=1)
        change = gain[:, middle]
        if abs(change - 1).max() > STEADY:
            rows = self._learnt.reshape(len(self._learnt), -1)
            rows *= np.tile(change, self._learnt.shape[1])  # numpy is slow with an axis of 3
            self._renew()

    def _take_sample(self, picture: Image | Plane) -> Plane:
        """(3, samples) float32, never 0: the picture's colours at the points of the grid."""
        sample = picture[self._grid].transpose(2, 0, 1).astype(np.float32, order="C").reshape(3, -1)
        sample += 1
        return sample

    def _learn(self) -> None:
        cv2.bitwise_not(self._near, dst=self._free)
        free = cv2.countNonZero(self._free)
        self._covered_for = self._covered_for + TURNS if free < self._free.size // 50 else 0
        np.copyto(self._seen, self._now)
        cv2.copyTo(self._small, self._free, dst=self._seen)
        cv2.accumulateWeighted(self._seen, self._learnt, LEARNING_RATE)  # several times as fast as with a mask
        self._renew()

    def _renew(self) -> None:
        """What has been learnt has changed."""
        cv2.convertScaleAbs(self._learnt, dst=self._now)
        self._sample = self._take_sample(self._learnt)
        self._is_dark = self._sample.mean() - 1 < DARK
        self._whole_is_new = False

    def _measure(self) -> None:
        """How much the background itself scatters, and how clearly parts stand out from it."""
        strength, near, mask = self._strength[self._grid], self._near[self._grid], self._mask[self._grid]
        free, covered = strength[near == 0], strength[mask > 0]
        if free.size > strength.size // 20:
            self._noise += LEARNING_RATE * (_percentile(free, 90) - self._noise)
        if covered.size > strength.size // 50:
            change = _percentile(covered, 50) - self._contrast
            self._contrast += (0.6 if change > 0 else 0.04) * change  # the first part counts, marks on a belt do not


def _percentile(values: Image, share: int) -> float:
    """As numpy's, which takes ten times as long for so few: the value with so many % of them below."""
    place = len(values) * share // 100
    return float(np.partition(values, place)[place])


_SMALL = np.ones((3, 3), np.uint8)
_LARGER = np.ones((5, 5), np.uint8)
_WIDE = {None: np.ones((9, 9), np.uint8), 0: np.ones((5, 9), np.uint8), 1: np.ones((9, 5), np.uint8)}


def _first_guess(picture: Image) -> Plane:
    """The belt as far as one picture shows it: parts stand out from both their row and their column."""
    rows = np.median(picture, axis=1, keepdims=True)
    columns = np.median(picture, axis=0, keepdims=True)
    guess = np.where(np.abs(picture - rows) < np.abs(picture - columns), rows, columns)
    alike = np.abs(picture - guess).sum(axis=2, keepdims=True) < 2 * FAINTEST
    return np.asarray(np.where(alike, picture, guess), np.float32)
