"""Training samples: one picture of the data set, seen from another day, another camera, another part."""

from collections import defaultdict
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from models.dataset import Picture

Floats = npt.NDArray[np.float32]
MARGIN = 32
"""Pixels by which pictures are kept larger than the model's input, so that a sample can be cut out of them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample.

    Attributes:
        image: (height, width, channels) float32, 0 to 1.
        target: (defects, height / 4, width / 4) float32: the share of each cell that the defect covers.
        classes: (height, width) uint8: the number of the label that each pixel shows.
        label: index of the label.
        has_target: whether `target` and `classes` say anything (a defect without a mask teaches its label only).
    """

    image: Floats
    target: Floats
    classes: Image
    label: int
    has_target: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    image: Image
    mask: Image | None


class Sampler:
    """Draws training samples: first a label, then a tile, then a picture, so that no label and no tile dominates.

    Args:
        pictures: to draw from.
        labels: the pass label first.
        spec: what the model expects.
        rng: everything random comes from here.
        pass_share: how many samples show nothing wrong.
        paste_share: how many defects are shown on another tile than their own.
    """

    def __init__(
        self,
        pictures: list[Picture],
        labels: tuple[str, ...],
        spec: InputSpec,
        rng: np.random.Generator,
        *,
        pass_share: float = 0.4,
        paste_share: float = 0.4,
    ) -> None:
        self._spec = spec
        self._rng = rng
        self._defects = len(labels) - 1
        self._pass_share = pass_share
        self._paste_share = paste_share
        big = InputSpec(spec.width + MARGIN, spec.height + MARGIN, spec.colour, spec.resize)
        self._by_label: list[list[list[_Loaded]]] = []
        for label in labels:
            tiles = defaultdict(list)
            for picture in pictures:
                if picture.label == label:
                    tiles[picture.tile].append(_load(picture, big))
            if not tiles:
                raise ValueError(f"the training pictures show no {label}: add some or remove the label")
            self._by_label.append(list(tiles.values()))

    def draw(self) -> Sample:
        """The next sample."""
        label = 0 if self._rng.random() < self._pass_share else 1 + int(self._rng.integers(self._defects))
        loaded = self._pick(label)
        image, mask = loaded.image, loaded.mask
        if label and mask is not None and self._rng.random() < self._paste_share:
            image, mask = self._paste(self._pick(0).image, image, mask)
        has_target = label == 0 or mask is not None
        image, mask = self._cut_out(*self._flip(image, mask if mask is not None else np.zeros_like(image[..., 0])))
        classes = np.where(mask > 127, label, 0).astype(np.uint8)
        return Sample(self._expose(image), covered_cells(mask, label, self._defects), classes, label, has_target)

    def _pick(self, label: int) -> _Loaded:
        tiles = self._by_label[label]
        tile = tiles[self._rng.integers(len(tiles))]
        return tile[self._rng.integers(len(tile))]

    def _flip(self, image: Image, mask: Image) -> tuple[Image, Image]:
        for axis in (0, 1):
            if self._rng.random() < 0.5:
                image, mask = np.flip(image, axis), np.flip(mask, axis)
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)

    def _paste(self, onto: Image, image: Image, mask: Image) -> tuple[Image, Image]:
        """A defect on another tile: what makes it a defect is not the tile that it happened to be on."""
        image, mask = self._flip(image, mask)
        if (mask > 127).mean() < 0.02:  # small ones may be anywhere; large ones belong to an edge or a face
            image, mask = self._move(image, mask)
        soft = cv2.GaussianBlur(cv2.dilate(mask, np.ones((7, 7), np.uint8)), (0, 0), 2).astype(np.float32) / 255
        around = (cv2.dilate(mask, np.ones((25, 25), np.uint8)) > 127) & (soft < 0.1)
        gain = 1.0
        if around.sum() > 20:
            gain = float(np.clip((onto[around].mean() + 5) / (image[around].mean() + 5), 0.4, 2.5))
        alpha = soft[..., None]
        mixed = onto * (1 - alpha) + image * (alpha * gain)
        return np.clip(mixed, 0, 255).astype(np.uint8), mask

    def _move(self, image: Image, mask: Image) -> tuple[Image, Image]:
        height, width = mask.shape
        ys, xs = np.nonzero(mask > 127)
        if len(xs) == 0:
            return image, mask
        centre = (float(xs.mean()), float(ys.mean()))
        turn, scale = self._rng.uniform(-25, 25), float(np.exp(self._rng.uniform(-0.3, 0.3)))
        matrix = np.asarray(cv2.getRotationMatrix2D(centre, turn, scale), np.float64)
        goal = self._rng.uniform((12, 12), (width - 12, height - 12))
        matrix[:, 2] += 0.7 * (goal - np.array(centre))
        return (
            _warp(image, matrix, (width, height), cv2.BORDER_REFLECT_101),
            _warp(mask, matrix, (width, height), cv2.BORDER_CONSTANT),
        )

    def _cut_out(self, image: Image, mask: Image) -> tuple[Image, Image]:
        height, width = mask.shape
        size = np.array([self._spec.width, self._spec.height])
        centre = np.array([width / 2, height / 2])
        scale = np.exp(self._rng.uniform(-0.18, 0.22, 2))
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), self._rng.uniform(-6, 6), 1.0)
        matrix = np.asarray(np.diag(scale) @ turn, np.float64)
        matrix[:, 2] += size / 2 - scale * centre + self._rng.uniform(-14, 14, 2)
        target = (self._spec.width, self._spec.height)
        return _warp(image, matrix, target, cv2.BORDER_REFLECT_101), _warp(mask, matrix, target, cv2.BORDER_CONSTANT)

    def _expose(self, image: Image) -> Floats:
        """Another exposure, another lamp, another lens, another sensor."""
        rng = self._rng
        x: Floats = np.power(image / np.float32(255), np.float32(np.exp(rng.uniform(-0.5, 0.5))), dtype=np.float32)
        if rng.random() < 0.3:
            height, width = x.shape[:2]
            slope_x, slope_y = rng.uniform(-0.25, 0.25, 2)
            along_x = np.linspace(-slope_x, slope_x, width, dtype=np.float32)
            along_y = np.linspace(-slope_y, slope_y, height, dtype=np.float32)
            x = x * (1 + along_x[None, :, None] + along_y[:, None, None])
        if rng.random() < 0.3:
            x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.2)).reshape(x.shape).astype(np.float32)
        if rng.random() < 0.4:
            x = x + rng.normal(0, rng.uniform(0.005, 0.04), x.shape).astype(np.float32)
        gain, offset = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(-0.08, 0.08)
        exposed: Floats = np.clip(x * gain + offset, 0, 1).astype(np.float32)
        return exposed


def covered_cells(mask: Image, label: int, defects: int) -> Floats:
    """(defects, height / 4, width / 4), the target of a sample, of the mask (height, width) of a label; 0 is good."""
    height, width = mask.shape[0] // 4, mask.shape[1] // 4
    target = np.zeros((defects, height, width), np.float32)
    if label:
        share = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        target[label - 1] = np.minimum(2 * share, 1)  # half a cell of defect is a defect
    return target


def _load(picture: Picture, spec: InputSpec) -> _Loaded:
    target = np.empty(spec.shape, np.uint8)
    Preprocessor(spec, target)(read_image(picture.image))
    if picture.mask is None:
        return _Loaded(target[0], None)
    mask_spec = InputSpec(spec.width, spec.height, "GRAY", spec.resize)
    mask = np.empty(mask_spec.shape, np.uint8)
    Preprocessor(mask_spec, mask)(read_image(picture.mask))
    return _Loaded(target[0], mask[0, ..., 0] if (mask > 127).sum() > 8 else None)


def _warp(image: Image, matrix: npt.NDArray[np.float64], size: tuple[int, int], border: int) -> Image:
    warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return warped.reshape(size[1], size[0], *image.shape[2:]).astype(np.uint8, copy=False)
