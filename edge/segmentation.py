"""From the mask of a model to the regions in it, and from these to a classification that every decider understands.

mask, confidence -> (stitch tiles) -> regions of each defect -> scores: of a defect that of its largest region,
                                                                of the pass label what is left to the surest defect
"""

import contextlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edge.area import Area
from edge.classification import Classification, Region
from edge.engine import Slot
from edge.errors import EngineError
from edge.frame import Image
from edge.preprocess import Preprocessor
from edge.tiles import TilePreprocessor

MOST_REGIONS = 8
"""So many are told, the largest ones."""


class MaskReader:
    """The place of a line at an engine that draws masks: what is written there, and what is read from it.

    Used by one thread. The buffers are made once for each size of image.

    Args:
        slot: at an engine whose bundle is of the task `segmentation`.
        min_area: smaller regions are passed over; for single labels, in place of what the bundle says.

    Attributes:
        preprocess: writes an image into the engine's input.
        mask: (height, width) uint8: the number of the label that each pixel shows, as it was last read.
    """

    def __init__(self, slot: Slot, min_area: Mapping[str, Area]) -> None:
        manifest = slot.engine.bundle.manifest
        spec = manifest.input.spec
        areas = {**manifest.min_areas, **min_area}
        self._slot = slot
        self._labels = slot.engine.bundle.labels
        self._pass = self._labels.index(manifest.pass_label)
        self._min_areas = [areas.get(label, Area()) for label in self._labels]
        self._tiles = TilePreprocessor(spec, slot.make_room) if spec.resize == "tile" else None
        self.preprocess: TilePreprocessor | Preprocessor = self._tiles or Preprocessor(spec, slot.input)
        self.mask: Image = np.zeros((0, 0), np.uint8)

    def prepare(self, height: int, width: int) -> None:
        """Images of that size will come: what takes long is done now.

        Raises:
            BadFrameError: they are too large for tiles.
        """
        if self._tiles is not None:
            with contextlib.suppress(EngineError):  # it is told by the first inference
                self._tiles.arrange(height, width)

    def read(self, x: int = 0, y: int = 0) -> tuple[Classification, tuple[Region, ...]]:
        """What the engine has said about the image that was written last.

        Args:
            x: where in the frame the image begins, pixels; the regions are told in pixels of the frame.
            y: the same.
        """
        shown = self.preprocess.shown
        top, left, height, width = shown.input
        if (height, width) != self.mask.shape:
            self._make_buffers(height, width)
        mask, confidence = self._slot.outputs
        if self._tiles is not None:
            self._tiles.stitch(mask, self.mask)
            self._tiles.stitch(confidence, self._confidence)
        else:
            here = (0, slice(top, top + height), slice(left, left + width))
            self.mask[...] = mask[here]
            self._confidence[...] = confidence[here]
        scale = (shown.image[3] / width, shown.image[2] / height)
        place = _Place(x + shown.image[1], y + shown.image[0], *scale, shown.image_px)
        regions = [region for label in self._defects() for region in self._regions_of(label, place)]
        regions.sort(key=lambda region: -region.area_px)
        return self._classification(regions), tuple(regions[:MOST_REGIONS])

    def _make_buffers(self, height: int, width: int) -> None:
        self.mask = np.empty((height, width), np.uint8)
        self._confidence = np.empty((height, width), np.uint8)
        self._of_label = np.empty((height, width), np.uint8)
        self._numbers = np.empty((height, width), np.int32)

    def _defects(self) -> list[int]:
        """Numbers of the defects that some pixel shows."""
        counts = cv2.calcHist([self.mask], [0], None, [256], [0, 256]).ravel()
        return [label for label in range(len(self._labels)) if label != self._pass and counts[label] > 0]

    def _regions_of(self, label: int, place: "_Place") -> list[Region]:
        """The largest ones of one label that are large enough."""
        cv2.inRange(self.mask, (label,), (label,), dst=self._of_label)
        _, _, stats, centres = cv2.connectedComponentsWithStats(self._of_label, labels=self._numbers, ltype=cv2.CV_32S)
        areas = stats[1:, cv2.CC_STAT_AREA] * place.pixel_px  # the first one is everything else
        numbers = np.argsort(-areas, kind="stable")[:MOST_REGIONS]
        least = self._min_areas[label].in_pixels(place.image_px)
        return [
            self._region(label, int(number) + 1, stats[number + 1].tolist(), centres[number + 1].tolist(), place)
            for number in numbers
            if areas[number] >= least
        ]

    def _region(self, label: int, number: int, stats: list[int], centre: list[float], place: "_Place") -> Region:
        left, top, width, height, area = stats
        box = (slice(top, top + height), slice(left, left + width))
        inside = self._of_label[box]
        cv2.inRange(self._numbers[box], (number,), (number,), dst=inside)
        score = cv2.mean(self._confidence[box], mask=inside)[0] / 255
        area_px = area * place.pixel_px
        return Region(
            self._labels[label],
            score,
            area_px=round(area_px),
            area_percent=area_px / place.image_px * 100,
            box=place.box(left, top, width, height),
            centre=place.point(*centre),
        )

    def _classification(self, regions: Sequence[Region]) -> Classification:
        """`regions` are sorted by their area, the largest first."""
        largest: dict[str, float] = {}
        for region in regions:
            largest.setdefault(region.label, region.score)
        scores = [largest.get(label, 0.0) for label in self._labels]
        scores[self._pass] = 1 - max(largest.values(), default=0.0)
        return Classification(self._labels, tuple(scores))


class _Place:
    """Where the mask lies in the frame.

    Args:
        x: of its left edge, pixels of the frame.
        y: of its upper edge.
        scale_x: pixels of the frame for each of the mask.
        scale_y: the same.
        image_px: of the whole image, which the mask may not show all of.
    """

    def __init__(self, x: int, y: int, scale_x: float, scale_y: float, image_px: int) -> None:
        self._x, self._y, self._scale_x, self._scale_y = x, y, scale_x, scale_y
        self.image_px = image_px
        self.pixel_px = scale_x * scale_y

    def box(self, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
        x, right = (self._x + round(edge * self._scale_x) for edge in (left, left + width))
        y, bottom = (self._y + round(edge * self._scale_y) for edge in (top, top + height))
        return (x, y, max(1, right - x), max(1, bottom - y))

    def point(self, x: float, y: float) -> tuple[float, float]:
        # The middle of the mask's first pixel lies half a pixel of the mask inside.
        return (
            self._x + (x + 0.5) * self._scale_x - 0.5,
            self._y + (y + 0.5) * self._scale_y - 0.5,
        )
