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
LEARNING_RATE = 0.05
"""Share of the present picture that the background takes over with each frame: it follows in about 20 frames."""
DARK = 8.0
"""Mean grey level below which a picture shows nothing to be learnt: a camera that wakes up, a lamp that is off."""
COVERED_FRAMES = 300
"""After so many frames without any background in view it is learnt anew: the camera was moved, or began in the dark."""
FAINTEST = 24
"""Grey levels, summed over three channels, below which a difference is never a part."""
THIN = 0.05
"""Share of the view's width across the travel that must be covered for a place to count as occupied."""


@dataclass(frozen=True, slots=True)
class Foreground:
    """What differs from the empty background in one frame.

    Attributes:
        mask: (height, width) uint8 of the small picture, 255 where something lies.
        strength: (height, width) uint8, by how much it differs.
    """

    mask: Image
    strength: Image

    def profile(self, axis: int) -> tuple[Plane, Plane]:
        """Along `axis` (0: x, 1: y): the share of the mask that is covered, 0 to 1, and the mean strength."""
        covered = cv2.reduce(self.mask, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() / 255
        strength = cv2.reduce(cv2.bitwise_and(self.strength, self.mask), axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
        return np.asarray(covered, np.float32), np.asarray(strength, np.float32)

    def girth(self, axis: int) -> Plane:
        """Along `axis`: how far it reaches across, in pixels, times how much it differs there; holes do not count."""
        mask = self.mask > 0 if axis == 0 else self.mask.T > 0
        strength = self.strength if axis == 0 else self.strength.T
        reach = mask.shape[0] - mask.argmax(axis=0) - mask[::-1].argmax(axis=0)
        mean = (strength * mask).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
        return np.asarray(np.where(mask.any(axis=0), reach, 0) * mean, np.float32)


class Background:
    """The empty view, learnt while parts pass. Used by one thread.

    The first frame gives the first guess: what is alike along its rows or along its columns is the belt, what is not
    may be a part. A change of the light as a whole is measured on what is known to be background and taken out.
    """

    def __init__(self) -> None:
        self._size = (0, 0)
        self._covered_for = 0

    @property
    def picture(self) -> Image:
        """(height, width, 3) uint8, BGR: the background as it would look in the light of the last frame."""
        return self._now

    def subtract(self, image: Image) -> Foreground:
        """What differs in `image` ((height, width, 3) uint8, BGR), learning from the rest."""
        height, width = image.shape[:2]
        if self._size != (width, height) or self._learnt.mean() < DARK or self._covered_for > COVERED_FRAMES:
            self._start(image)
        cv2.resize(image, self._small.shape[1::-1], dst=self._small, interpolation=cv2.INTER_AREA)
        self._follow_the_light()
        cv2.convertScaleAbs(self._learnt, dst=self._now)
        cv2.absdiff(self._small, self._now, dst=self._difference)
        cv2.transform(self._difference, _SUM, dst=self._strength)
        threshold = max(FAINTEST, 3.0 * self._noise, 0.3 * self._contrast)
        cv2.threshold(self._strength, threshold, 255, cv2.THRESH_BINARY, dst=self._mask)
        cv2.morphologyEx(self._mask, cv2.MORPH_OPEN, _SMALL, dst=self._mask)
        cv2.morphologyEx(self._mask, cv2.MORPH_CLOSE, _SMALL, dst=self._mask)
        cv2.dilate(self._mask, _WIDE, dst=self._near)
        self._measure()
        self._covered_for = self._covered_for + 1 if cv2.countNonZero(self._free) < self._free.size // 50 else 0
        cv2.bitwise_not(self._near, dst=self._free)
        cv2.accumulateWeighted(self._small, self._learnt, LEARNING_RATE, mask=self._free)
        return Foreground(self._mask, self._strength)

    def absorb(self, low: float, high: float, axis: int) -> None:
        """Take what lies between two places along `axis` for background: it has turned out to be no part."""
        inside = slice(max(0, round(low)), max(0, round(high)))
        there = (slice(None), inside) if axis == 0 else (inside, slice(None))
        self._learnt[there] = self._small[there]

    def _start(self, image: Image) -> None:
        height, width = image.shape[:2]
        scale = min(1.0, LONG_SIDE / max(height, width))
        shape = (max(1, round(height * scale)), max(1, round(width * scale)))
        self._size = (width, height)
        self._small = np.empty((*shape, 3), np.uint8)
        self._now = np.empty_like(self._small)
        self._difference = np.empty_like(self._small)
        self._strength, self._mask, self._near, self._free = (np.zeros(shape, np.uint8) for _ in range(4))
        cv2.resize(image, shape[::-1], dst=self._small, interpolation=cv2.INTER_AREA)
        self._learnt = _first_guess(self._small)
        self._noise = 8.0
        self._contrast = 0.0
        self._covered_for = 0

    def _follow_the_light(self) -> None:
        """Scale the whole background, also where parts hide it, as the part of it that is in view has changed."""
        free = self._near[::4, ::4] == 0
        if np.count_nonzero(free) <= free.size // 20:
            return  # too little of it to be seen: the light is taken to be as before
        now, before = self._small[::4, ::4][free].astype(np.float32), self._learnt[::4, ::4][free]
        gain = np.median((now + 1) / (before + 1), axis=0)
        rows = self._learnt.reshape(len(self._learnt), -1)
        rows *= np.tile(gain.astype(np.float32), self._learnt.shape[1])  # numpy is slow with an axis of 3

    def _measure(self) -> None:
        """How much the background itself scatters, and how clearly parts stand out from it."""
        strength, near, mask = self._strength[::4, ::4], self._near[::4, ::4], self._mask[::4, ::4]
        free, covered = strength[near == 0], strength[mask > 0]
        if free.size > strength.size // 20:
            self._noise += 0.05 * (float(np.percentile(free, 90)) - self._noise)
        if covered.size > strength.size // 50:
            change = float(np.median(covered)) - self._contrast
            self._contrast += (0.2 if change > 0 else 0.01) * change  # the first part counts, marks on a belt do not


_SUM = np.ones((1, 3), np.float32)
_SMALL = np.ones((3, 3), np.uint8)
_WIDE = np.ones((9, 9), np.uint8)


def _first_guess(picture: Image) -> Plane:
    """The belt as far as one picture shows it: parts stand out from both their row and their column."""
    rows = np.median(picture, axis=1, keepdims=True)
    columns = np.median(picture, axis=0, keepdims=True)
    guess = np.where(np.abs(picture - rows) < np.abs(picture - columns), rows, columns)
    alike = np.abs(picture - guess).sum(axis=2, keepdims=True) < 2 * FAINTEST
    return np.asarray(np.where(alike, picture, guess), np.float32)
