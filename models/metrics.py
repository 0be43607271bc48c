"""Figures of a classifier."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
"""(pictures, labels), softmax values."""

LEAST_SCORE = 1e-7
"""Below it a score counts as this much: float32 has no smaller difference from 1."""


def confusion(truth: npt.ArrayLike, answers: npt.ArrayLike, labels: int) -> Matrix:
    """(labels, labels): row = truth, column = answer."""
    matrix = np.zeros((labels, labels), np.int64)
    np.add.at(matrix, (np.asarray(truth), np.asarray(answers)), 1)
    return matrix


def recalls(matrix: Matrix) -> list[float | None]:
    """Per label: the share that was recognised; None where there is nothing of it."""
    return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


def balanced_accuracy(matrix: Matrix) -> float:
    """The mean recall of the labels that occur: every label counts the same, however rare."""
    return float(np.mean([recall for recall in recalls(matrix) if recall is not None]))


def accuracy(matrix: Matrix) -> float:
    """The share of right answers."""
    return float(np.trace(matrix) / matrix.sum())


def table(matrix: Matrix, labels: tuple[str, ...]) -> str:
    """The matrix as text, for people."""
    width = max(len(label) for label in labels) + 2
    head = "truth \\ answer".ljust(width + 6) + "".join(label.rjust(width) for label in labels) + "recall".rjust(10)
    lines = [head]
    for label, row, recall in zip(labels, matrix, recalls(matrix), strict=True):
        share = "-" if recall is None else f"{recall:.3f}"
        lines.append(label.ljust(width + 6) + "".join(str(n).rjust(width) for n in row) + share.rjust(10))
    return "\n".join(lines)


def calibration_error(scores: Scores, truth: npt.ArrayLike, bins: int = 10) -> float:
    """The expected calibration error (Guo et al., "On Calibration of Modern Neural Networks", 2017), 0 to 1.

    How far the score of the answer lies off the share of right answers, on average over all pictures: 0 when of the
    answers given with a score of 0.8 eight in ten are right.
    """
    return float(sum(bin_.share * abs(bin_.accuracy - bin_.score) for bin_ in reliability(scores, truth, bins)))


class Bin(NamedTuple):
    """Answers with a similar score: their share of all, their mean score, and the share of them that is right."""

    share: float
    score: float
    accuracy: float


def reliability(scores: Scores, truth: npt.ArrayLike, bins: int = 10) -> list[Bin]:
    """The answers by their score, in steps of equal width; steps without answers are left out."""
    best = scores.max(1)
    right = scores.argmax(1) == np.asarray(truth)
    step = np.minimum((best * bins).astype(int), bins - 1)
    groups = [step == number for number in range(bins)]
    return [Bin(float(of.mean()), float(best[of].mean()), float(right[of].mean())) for of in groups if bool(of.any())]


def log_loss(scores: Scores, truth: npt.ArrayLike) -> float:
    """The mean negative logarithm of the score of the right label: what a wrong answer given surely makes large."""
    right = scores[np.arange(len(scores)), np.asarray(truth)]
    return float(-np.log(np.maximum(right, LEAST_SCORE)).mean())
