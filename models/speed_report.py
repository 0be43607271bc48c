"""What the speed table came to, for people: tables, sentences, charts."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.speed_forms import ENGINES, FORMS
from models.tables import markdown

Cells = dict[str, dict[str, Any]]
Row = dict[str, Any]

_COLOURS = {
    "pytorch": "#4c566a",
    "fixed": "#e9a03b",
    "fixed-simplified": "#c8553d",
    "dynamic": "#7fb069",
    "dynamic-simplified": "#2a9d8f",
    "int8": "#3d5a98",
}
_LINES = {"torch": ":", "onnxruntime": "-", "openvino": "--"}


def device_in_words() -> str:
    """The processor and the versions of the engines."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace") if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    return (
        f"{names[0] if names else 'processor without a name'}, {len(os.sched_getaffinity(0))} cores; "
        f"PyTorch {torch.__version__.split('+')[0]}, ONNX Runtime {onnxruntime.__version__}, "
        f"OpenVINO {openvino.__version__.split('-')[0]}"
    )


def rows_of(cells: Cells, network: str) -> list[Row]:
    """The figures of one network, each with its shape, form and engine."""
    rows = []
    for key, cell in cells.items():
        name, shape, form, engine = key.split(" ")
        pictures, size = (int(part) for part in shape.split("x"))
        if name == network:
            rows.append({"pictures": pictures, "size": size, "form": form, "engine": engine, **cell})
    return rows


def report(cells: Cells, networks: Sequence[str], device: str) -> str:
    """All tables, as Markdown."""
    parts = [f"# Speed over shapes\n\n{device}"]
    for network in networks:
        rows = rows_of(cells, network)
        for pictures in sorted({row["pictures"] for row in rows}):
            those = [row for row in rows if row["pictures"] == pictures]
            at_once = "1 picture" if pictures == 1 else f"{pictures} pictures at once"
            parts += [f"## {network}, {at_once}: ms per picture", _table(those, _ms_per_picture)]
            parts += [f"## {network}, {at_once}: MiB at most", _table(those, lambda row: f"{row['memory_mib']:.0f}")]
        parts.append(agreement(rows))
    return "\n\n".join(parts)


def agreement(rows: Sequence[Row]) -> str:
    """How far scores in FP32 lie off those of PyTorch at most. The pictures are noise, for which INT8 is not made."""
    truth = {(row["pictures"], row["size"]): np.array(row["scores"]) for row in rows if row["form"] == "pytorch"}
    there = [row for row in rows if row["form"] != "int8" and (row["pictures"], row["size"]) in truth]
    worst = max(float(np.abs(np.array(row["scores"]) - truth[row["pictures"], row["size"]]).max()) for row in there)
    return f"Scores in FP32 differ from those of PyTorch by {worst:.1g} at most, over all shapes, forms and engines."


def _ms_per_picture(row: Row) -> str:
    each = row["ms"] / row["pictures"]
    return f"{each:.2f}" if each < 100 else f"{each:.0f}"


def _columns(rows: Sequence[Row]) -> list[tuple[str, str]]:
    there = {(row["engine"], row["form"]) for row in rows}
    return [(engine, form) for engine in ENGINES for form in FORMS if (engine, form) in there]


def _name(engine: str, form: str) -> str:
    return ENGINES[engine] if engine == "torch" else f"{ENGINES[engine]}: {FORMS[form]}"


def _table(rows: Sequence[Row], text: Callable[[Row], str]) -> str:
    columns = _columns(rows)
    head = ["pixels", *(_name(engine, form) for engine, form in columns)]
    found = {(row["size"], row["engine"], row["form"]): text(row) for row in rows}
    sizes = sorted({row["size"] for row in rows})
    return markdown(head, [[size, *(found.get((size, *column), "-") for column in columns)] for size in sizes])


def draw_speed(rows: Sequence[Row], path: Path, title: str) -> None:
    """Time for each picture on the left, memory on the right, over the size; a row for each number of pictures; PNG.

    Raises:
        OSError: the file cannot be written.
    """
    counts = sorted({row["pictures"] for row in rows})
    figure = Figure(figsize=(13, 4.6 * len(counts) + 0.4), layout="constrained")
    for (left, right), pictures in zip(figure.subplots(len(counts), 2, squeeze=False), counts, strict=True):
        those = [row for row in rows if row["pictures"] == pictures]
        at_once = "1 picture" if pictures == 1 else f"{pictures} pictures at once"
        _draw(left, those, lambda row: row["ms"] / row["pictures"], f"{at_once}: ms per picture")
        _draw(right, those, lambda row: max(row["memory_mib"], 1.0), f"{at_once}: MiB at most")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def _draw(axes: Axes, rows: Sequence[Row], value: Callable[[Row], float], title: str) -> None:
    for engine, form in _columns(rows):
        line = sorted((row["size"], value(row)) for row in rows if (row["engine"], row["form"]) == (engine, form))
        label, style = _name(engine, form), _LINES[engine]
        axes.plot(*zip(*line, strict=True), style, color=_COLOURS[form], marker="o", markersize=3, label=label)
    sizes = sorted({row["size"] for row in rows})
    axes.set(xscale="log", yscale="log", title=title, xlabel="width and height in pixels")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
