"""The per-image precision table as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge.sources.images import read_image
from models.fonts import use_fonts_for

if TYPE_CHECKING:
    from models.precision_table import Precision

_COLOURS = ("#4c566a", "#e9a03b", "#2a9d8f", "#3d5a98")
ACROSS = 3
THUMBNAIL = 96


def draw_precision(found: Precision, shown: Sequence[int], path: Path, title: str) -> None:
    """Each picture beside its best scores in every form, as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    use_fonts_for([*found.labels, title, *(found.pictures[number].image.name for number in shown)])
    down = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(5.2 * ACROSS, 1.9 * down + 0.9), layout="constrained")
    grid = figure.subplots(down, 2 * ACROSS, squeeze=False, width_ratios=[1, 2.2] * ACROSS)
    for place in range(down * ACROSS):
        picture, bars = grid[place // ACROSS][2 * (place % ACROSS) : 2 * (place % ACROSS) + 2]
        picture.set_axis_off()
        if place >= len(shown):
            bars.set_axis_off()
            continue
        number = shown[place]
        picture.imshow(_thumbnail(found.pictures[number].image))
        picture.set_title(found.pictures[number].label, fontsize=9)
        _draw_bars(bars, found, number)
    handles, names = figure.axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=100, format="png")


def _draw_bars(axes: Axes, found: Precision, number: int) -> None:
    labels = [label for label, _ in found.best("PyTorch", number)]
    height = 0.8 / len(found.scores)
    for place, (column, scores) in enumerate(found.scores.items()):
        values = [scores[number][found.labels.index(label)] for label in labels]
        at = np.arange(len(labels)) + (place - 1.5) * height
        axes.barh(at, values, height, color=_COLOURS[place], label=column)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="x", labelsize=7)
    axes.invert_yaxis()


def _thumbnail(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB)
    scale = THUMBNAIL / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
