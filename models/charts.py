"""Pictures for people: how right a model is, whether its scores mean what they say, how models compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.fonts import use_fonts_for
from models.metrics import Bin, Matrix

DPI = 110


def draw_evaluation(
    matrices: dict[str, Matrix], bins: dict[str, list[Bin]], labels: Sequence[str], path: Path, title: str
) -> None:
    """For every engine its confusion matrix, and under it the share of right answers over the score, as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    use_fonts_for([*labels, title, *matrices])
    side = max(3.4, 0.55 * len(labels) + 1.6)
    figure = Figure(figsize=(side * len(matrices), side + 3.2), layout="constrained")
    rows = figure.subplots(2, len(matrices), squeeze=False, height_ratios=(side, 3.0))
    for axes, below, name in zip(*rows, matrices, strict=True):
        _draw_matrix(axes, matrices[name], labels, name)
        _draw_reliability(below, bins[name])
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI, format="png")


def _draw_matrix(axes: Axes, matrix: Matrix, labels: Sequence[str], name: str) -> None:
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=45, ha="right")
    axes.set_yticks(places, labels)
    if len(labels) <= 12:
        for row in places:
            for column in places:
                colour = "white" if shares[row, column] > 0.6 else "#333333"
                axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=9)
    axes.set(title=name, xlabel="answer", ylabel="truth")


def _draw_reliability(axes: Axes, bins: Sequence[Bin]) -> None:
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    axes.scatter([b.score for b in bins], [b.accuracy for b in bins], s=[20 + 300 * b.share for b in bins], alpha=0.7)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="score of the answer", ylabel="share that is right")
    axes.grid(visible=True, alpha=0.3)


def draw_comparison(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Bars of size, time and quality of every row of a comparison, as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    names = [row["model"] for row in rows]
    use_fonts_for([*names, title])
    figure = Figure(figsize=(14, 1.6 + 0.42 * len(rows)), layout="constrained")
    kinds = (
        ("megabytes", "MB", "Size: shorter is better", "%.2f"),
        ("latency_ms", "ms for one picture", "Time: shorter is better", "%.2f"),
        ("quality", rows[0]["quality_is"], "Quality: longer is better", "%.3f"),
    )
    for axes, (key, unit, heading, form) in zip(figure.subplots(1, 3, sharey=True), kinds, strict=True):
        bars = axes.barh(range(len(rows)), [row[key] for row in rows], color=[_colour(row) for row in rows])
        axes.bar_label(bars, fmt=form, padding=3, fontsize=8)
        axes.set(xlabel=unit, title=heading)
        axes.margins(x=0.18)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_yticks(range(len(rows)), names)
    figure.axes[0].invert_yaxis()
    figure.suptitle(title)
    figure.savefig(path, dpi=DPI, format="png")


def _colour(row: dict[str, Any]) -> str:
    return {"fp32": "#4c566a", "fp16": "#e9a03b", "int8": "#2a9d8f"}[row["precision"]]
