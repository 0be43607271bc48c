"""`evaluate` of a model that draws masks: how well they lie over those that people drew."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

from tqdm import tqdm

from edge.backends import BackendName, EngineSettings
from edge.bundle import Bundle, Precision
from edge.engine import Engine
from edge.segmentation import MaskReader
from edge.sources.images import read_image
from models.dataset import Picture, truth_mask
from models.mask_metrics import PixelCounts


def evaluate_masks(
    bundle: Bundle, pictures: list[Picture], backends: Sequence[BackendName], precisions: Sequence[Precision]
) -> dict[str, Any]:
    """Figures of every engine, per "PRECISION BACKEND"."""
    return {f"{p} {backend}": measure(bundle, pictures, backend, p) for p in precisions for backend in backends}


def measure(bundle: Bundle, pictures: list[Picture], backend: BackendName, precision: Precision) -> dict[str, Any]:
    """Figures of one engine, through the code of the daemon.

    `iou` and `pixel_recall` count the pixels of the model's input, of all pictures together. Of pictures, and with the
    least areas of the bundle: `named` is the share of those with a defect in which a region of that label lies over it,
    `found` the same with a region of any defect, `false_alarms` the share of the good ones in which there is a region.
    """
    slot = Engine(bundle, EngineSettings(backend=backend, precision=precision)).slot()
    reader = MaskReader(slot, {})
    labels, spec = bundle.labels, bundle.manifest.input.spec
    counts = PixelCounts(len(labels))
    seen = dict.fromkeys(labels, 0)
    named, found = dict(seen), dict(seen)
    took_ms = []
    for picture in tqdm(pictures, desc=f"{precision} {backend}", unit="picture", leave=False, disable=None):
        image = read_image(picture.image)
        reader.preprocess(image)
        begin = perf_counter()
        slot.infer()
        took_ms.append((perf_counter() - begin) * 1e3)
        _, regions = reader.read()
        top, left, height, width = reader.preprocess.shown.input
        of = replace(spec, width=width, height=height, resize="stretch") if spec.resize == "tile" else spec
        truth = truth_mask(picture, of, labels)[top : top + height, left : left + width]
        counts.add(truth, reader.mask)
        if picture.label == labels[0]:
            seen[picture.label] += 1
            found[picture.label] += bool(regions)
        elif truth.any():
            seen[picture.label] += 1
            over = {labels[number] for number in set(reader.mask[truth > 0].tolist()) if number}
            told = over & {region.label for region in regions}
            found[picture.label] += bool(told)
            named[picture.label] += picture.label in told
    defects = labels[1:]
    return {
        "pictures": len(pictures),
        "mean_iou": round(counts.mean_iou, 4),
        "iou": _rounded(dict(zip(labels, counts.iou, strict=True))),
        "pixel_recall": _rounded(dict(zip(labels, counts.recall, strict=True))),
        "named": _rounded({label: named[label] / seen[label] if seen[label] else None for label in defects}),
        "found": _rounded({label: found[label] / seen[label] if seen[label] else None for label in defects}),
        "false_alarms": round(found[labels[0]] / max(1, seen[labels[0]]), 4),
        "infer_ms_p50": round(median(took_ms), 2),
    }


def mask_table(results: dict[str, Any], defects: Sequence[str]) -> str:
    """For people: one row for each engine and defect."""
    rows = [
        "| engine | defect | IoU | pixels recalled | pictures found | and named |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for engine, figures in results.items():
        for label in defects:
            values = [figures[key][label] for key in ("iou", "pixel_recall", "found", "named")]
            cells = ["-" if value is None else f"{value:.3f}" for value in values]
            rows.append(f"| {engine} | {label} | {' | '.join(cells)} |")
    rows.append("")
    for engine, figures in results.items():
        rows.append(
            f"{engine}: mean IoU of the defects {figures['mean_iou']:.3f}, false alarms on "
            f"{figures['false_alarms']:.1%} of the good pictures, {figures['infer_ms_p50']:.1f} ms per picture"
        )
    return "\n".join(rows)


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {label: value if value is None else round(value, 4) for label, value in values.items()}
