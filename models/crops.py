"""Training samples at the very scale of the model: cuts around what matters.

Most of a picture says nothing about a defect of ten pixels, but can be learnt by heart. A cut of a fifth of the area
costs a fifth of the time, shows the defect at the size at which the model will see it, and never among quite the same
surroundings.
"""

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from models.augment import Floats, Sample, covered_cells
from models.dataset import Picture

Points = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]
NEAR = 6
"""Pixels from an edge of the picture at which a defect belongs to that edge."""
LARGE = 0.04
"""Share of the picture from which on the outline of a defect says what it is, not its inside."""
PASTED = 0.03
"""Share of the picture up to which defects are shown on other tiles: larger ones belong to theirs."""
DRAWN = 90
"""Grey level of a mask, after it was shrunk, from which on a pixel counts as defective."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A picture at the model's scale, its mask, and the pixels (n, 2) x and y that a cut may be made around."""

    image: Image
    mask: Image
    points: Points


class CropSampler:
    """Draws samples as `Sampler` does: first a label, then a tile, then a picture.

    Args:
        pictures: to draw from.
        labels: the pass label first.
        spec: what the model expects, letterboxed and grey.
        rng: everything random comes from here.
        crop: width and height of the cuts, a multiple of 32.
        pass_share: how many samples show nothing wrong.
        paste_share: how many small defects are shown on another tile than their own.
    """

    def __init__(
        self,
        pictures: list[Picture],
        labels: tuple[str, ...],
        spec: InputSpec,
        rng: np.random.Generator,
        *,
        crop: int,
        pass_share: float = 0.4,
        paste_share: float = 0.5,
    ) -> None:
        self._spec, self._rng, self._crop = spec, rng, crop
        self._defects = len(labels) - 1
        self._pass_share, self._paste_share = pass_share, paste_share
        self._by_label: list[list[list[_Loaded]]] = []
        for label in labels:
            tiles = defaultdict(list)
            for picture in (one for one in pictures if one.label == label):
                loaded = _load(picture, spec)
                if label == labels[0] or len(loaded.points):  # where a defect without a mask is nobody knows
                    tiles[picture.tile].append(loaded)
            if not tiles:
                raise ValueError(f"no training picture shows {label} with a mask: draw some, or train without --crop")
            self._by_label.append(list(tiles.values()))

    def draw(self) -> Sample:
        """The next sample."""
        rng = self._rng
        label = 0 if rng.random() < self._pass_share else 1 + int(rng.integers(self._defects))
        shown = self._pick(label)
        if label and (shown.mask >= DRAWN).mean() < PASTED and rng.random() < self._paste_share:
            shown = self._paste(shown, self._pick(0).image)
        matrix = self._cut(shown)
        image = self._warp(shown.image, matrix, border=cv2.BORDER_REPLICATE)
        inside = self._warp(np.full_like(shown.mask, 255), matrix, cv2.INTER_NEAREST)
        mask = self._warp(shown.mask, matrix)
        exposed = self._expose(image)
        exposed[inside == 0] = self._spec.fill / 255
        classes = np.where(mask > 127, label, 0).astype(np.uint8)
        return Sample(exposed[..., None], covered_cells(mask, label, self._defects), classes, label, has_target=True)

    def _pick(self, label: int) -> _Loaded:
        tiles = self._by_label[label]
        tile = tiles[self._rng.integers(len(tiles))]
        return tile[self._rng.integers(len(tile))]

    def _turn(self) -> Matrix:
        """(2, 2): mirrored or not, turned a little, larger or smaller, and not quite to the same extent both ways."""
        rng = self._rng
        scale = np.exp(rng.uniform(-0.2, 0.2) + rng.uniform(-0.08, 0.08, 2)) * rng.choice((-1, 1), 2)
        angle = np.deg2rad(rng.uniform(-5, 5))
        sine, cosine = np.sin(angle), np.cos(angle)
        return np.array([[cosine, -sine], [sine, cosine]]) @ np.diag(scale)

    def _cut(self, shown: _Loaded) -> Matrix:
        """Around a pixel of the defect, or around any pixel; mostly without a strip of nothing beside the picture."""
        rng, turn = self._rng, self._turn()
        size = np.array([self._crop, self._crop])
        if len(shown.points) == 0:
            source, goal = rng.uniform((0, 0), shown.image.shape[::-1]), size / 2
        else:
            source, goal = shown.points[rng.integers(len(shown.points))], rng.uniform(0.15, 0.85, 2) * size
        matrix = _around(turn, source, goal)
        rows, columns = shown.image.shape
        corners = np.array([[0, 0, 1], [columns, 0, 1], [0, rows, 1], [columns, rows, 1]]) @ matrix.T
        for axis, length in enumerate(size):
            low, high = corners[:, axis].min(), corners[:, axis].max()
            if rng.random() < 0.7:
                if high - low <= length:
                    matrix[axis, 2] += rng.uniform(-low, length - high)
                else:
                    matrix[axis, 2] += -low if low > 0 else max(0.0, length - high)
        return matrix

    def _paste(self, shown: _Loaded, onto: Image) -> _Loaded:
        """A small defect on another tile: at the edge that it was at, else anywhere."""
        image, mask = shown.image, shown.mask
        for axis in (0, 1):
            if self._rng.random() < 0.5:
                image, mask = np.flip(image, axis), np.flip(mask, axis)
        part = tuple(_with_margin(np.flatnonzero((mask >= DRAWN).any(1 - axis)), mask.shape[axis]) for axis in (0, 1))
        image, mask = image[part], np.ascontiguousarray(mask[part])
        if mask.shape[0] > onto.shape[0] or mask.shape[1] > onto.shape[1]:
            return shown
        place = tuple(self._place(part[axis], shown.image.shape[axis], onto.shape[axis]) for axis in (0, 1))
        soft = cv2.GaussianBlur(cv2.dilate(mask, np.ones((5, 5), np.uint8)), (0, 0), 1.5).astype(np.float32) / 255
        under, around = onto[place].astype(np.float32), soft < 0.1
        gain = np.exp(self._rng.uniform(-0.1, 0.1))
        if around.sum() > 20:
            gain *= np.clip((under[around].mean() + 4) / (image[around].mean() + 4), 0.4, 2.5)
        mixed, drawn = onto.copy(), np.zeros_like(onto)
        mixed[place] = np.clip(under * (1 - soft) + image * (soft * np.float32(gain)), 0, 255)
        drawn[place] = mask
        return _Loaded(mixed, drawn, np.argwhere(drawn >= DRAWN)[:, ::-1])

    def _place(self, part: slice, before: int, now: int) -> slice:
        """Where along an axis a part goes that was at `part` of `before` pixels, on `now` pixels."""
        length, after = part.stop - part.start, before - part.stop
        if part.start < NEAR and part.start <= after:
            start = min(part.start, now - length)
        elif after < NEAR:
            start = max(0, now - after - length)
        else:
            start = int(self._rng.integers(0, now - length + 1))
        return slice(start, start + length)

    def _warp(
        self, image: Image, matrix: Matrix, flags: int = cv2.INTER_LINEAR, border: int = cv2.BORDER_CONSTANT
    ) -> Image:
        cut = cv2.warpAffine(image, matrix, (self._crop, self._crop), flags=flags, borderMode=border)
        return cut.astype(np.uint8, copy=False)

    def _expose(self, image: Image) -> Floats:
        """Another exposure, another lamp, another lens, another sensor."""
        rng = self._rng
        x: Floats = np.power(image / np.float32(255), np.float32(np.exp(rng.uniform(-0.3, 0.3))), dtype=np.float32)
        if rng.random() < 0.3:
            height, width = x.shape
            slope_x, slope_y = rng.uniform(-0.3, 0.3, 2)
            along_x = np.linspace(-slope_x, slope_x, width, dtype=np.float32)
            along_y = np.linspace(-slope_y, slope_y, height, dtype=np.float32)
            x = x * (1 + along_x + along_y[:, None])
        if rng.random() < 0.25:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.0)).astype(np.float32)
        if rng.random() < 0.35:
            x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0.004, 0.02))
        goal = np.float32(np.exp(rng.uniform(np.log(0.1), np.log(0.45))))  # means as photographs have them
        exposed: Floats = np.clip(x * (goal / max(x.mean(), 0.02)) + np.float32(rng.uniform(-0.03, 0.03)), 0, 1)
        return exposed


def _around(turn: Matrix, source: npt.ArrayLike, goal: npt.ArrayLike) -> Matrix:
    """(2, 3), as OpenCV takes it: what turns, and brings `source` to `goal`."""
    return np.column_stack([turn, np.asarray(goal) - turn @ np.asarray(source)])


def _with_margin(indices: Points, length: int) -> slice:
    return slice(max(0, int(indices.min()) - 10), min(length, int(indices.max()) + 11))


def _load(picture: Picture, spec: InputSpec) -> _Loaded:
    image = _shrink(read_image(picture.image), spec)
    mask = _shrink(read_image(picture.mask), spec) if picture.mask else np.zeros_like(image)
    drawn: Image = (mask >= DRAWN).astype(np.uint8)
    if drawn.mean() > LARGE:
        gradient = cv2.morphologyEx(drawn, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        outline: Image = gradient.astype(np.uint8, copy=False)
        outline[:4], outline[-4:], outline[:, :4], outline[:, -4:] = 0, 0, 0, 0
        drawn = outline if outline.sum() > 5 else drawn
    return _Loaded(image, mask, np.argwhere(drawn)[:, ::-1])


def _shrink(image: Image, spec: InputSpec) -> Image:
    """(height, width) uint8: what of a picture is seen in the model's input."""
    grey = InputSpec(spec.width, spec.height, "GRAY", spec.resize)
    preprocess = Preprocessor(grey, np.empty(grey.shape, np.uint8))
    preprocess(image)
    return preprocess.area[..., 0].copy()
