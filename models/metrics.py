"""Figures of a classifier."""

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.int64]


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
