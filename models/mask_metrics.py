"""Figures of a segmenter."""

import numpy as np
import numpy.typing as npt

from edge.frame import Image


class PixelCounts:
    """How many pixels of each label are said to be which: row = truth, column = answer."""

    def __init__(self, labels: int) -> None:
        self.matrix: npt.NDArray[np.int64] = np.zeros((labels, labels), np.int64)

    def add(self, truth: Image, answer: Image) -> None:
        """Count one picture; both (height, width) of label numbers."""
        labels = len(self.matrix)
        pairs = truth.astype(np.int64) * labels + answer
        self.matrix += np.bincount(pairs.ravel(), minlength=labels * labels).reshape(labels, labels)

    @property
    def iou(self) -> list[float | None]:
        """Intersection over union of each label, all pictures together; None where there is nothing of it."""
        both = np.diagonal(self.matrix)
        either = self.matrix.sum(0) + self.matrix.sum(1) - both
        return [float(b / e) if e else None for b, e in zip(both, either, strict=True)]

    @property
    def recall(self) -> list[float | None]:
        """The share of each label's pixels that are recognised; None where there is nothing of it."""
        return [float(row[n] / row.sum()) if row.sum() else None for n, row in enumerate(self.matrix)]

    @property
    def mean_iou(self) -> float:
        """Of the defects, which are all labels but the first, that occur or are claimed to."""
        there = [value for value in self.iou[1:] if value is not None]
        return float(np.mean(there)) if there else 0.0
