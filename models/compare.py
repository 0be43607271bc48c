"""`python -m models compare`: models side by side, in size, in quality and in speed."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.backends import BACKENDS
from edge.bundle import load_bundle
from models.charts import draw_comparison
from models.dataset import Picture, known_pictures
from models.measure import Subject, bytes_of, figures_of, latencies_ms, quality, sparsity_of, subject
from models.tables import markdown, write_report

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `compare`."""
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="the first is what others are held to")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="(default: every one)")
    parser.add_argument("--precision", choices=("int8", "fp16", "fp32"), action="append", help="(default: every one)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write compare.md, compare.json and compare.png")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")


def run(args: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        ValueError: no such pictures, or bundles that cannot be compared.
        EdgeError: a bundle or an engine cannot be used.
    """
    bundles = [load_bundle(path) for path in args.bundles]
    first = bundles[0].manifest
    for bundle in bundles[1:]:
        if (bundle.manifest.task, set(bundle.labels)) != (first.task, set(bundles[0].labels)):
            raise ValueError(
                f"{bundle.path} and {bundles[0].path} do not know the same labels: give bundles for the same task"
            )
    pictures = known_pictures(args.data, args.split, bundles[0].labels, first.pass_label)
    subjects = [
        subject(bundle, precision, backend)
        for bundle in bundles
        for precision in args.precision or bundle.precisions
        for backend in args.backend or BACKENDS
        if precision in bundle.precisions_for(backend)
    ]
    if not subjects:
        raise ValueError("no bundle has a model of that precision for that engine: ask for another one")
    rows = compare(subjects, pictures)
    title = f"{len(pictures)} pictures, split {args.split} of {args.data.name}"
    document = {"data": args.data.name, "split": args.split, "pictures": len(pictures), "rows": rows}
    if args.out:
        write_report(args.out, "compare", f"# Models compared\n\n{title}\n\n{comparison_table(rows)}", document)
        draw_comparison(rows, args.out / "compare.png", title)
    print(json.dumps(document, ensure_ascii=False) if args.json else f"{title}\n\n{comparison_table(rows)}")


def compare(subjects: Sequence[Subject], pictures: Sequence[Picture]) -> list[Row]:
    """Every subject against the first one of its engine: size, zero weights, quality, time."""
    measured = [figures_of(one, pictures) for one in subjects]
    times = latencies_ms(subjects, pictures[0].image)
    rows: list[Row] = []
    for one, figures, latency_ms in zip(subjects, measured, times, strict=True):
        row: Row = {
            "model": one.name,
            "precision": one.precision,
            "backend": one.backend,
            "bytes": bytes_of(one),
            "megabytes": round(bytes_of(one) / 1e6, 3),
            "sparsity": sparsity_of(one.file),
            "quality": quality(figures),
            "quality_is": "mean IoU" if "mean_iou" in figures else "balanced accuracy",
            "latency_ms": latency_ms,
            "figures": figures,
        }
        against = next((other for other in rows if other["backend"] == one.backend), row)
        row["against"] = against["model"]
        row["smaller"] = round(against["bytes"] / row["bytes"], 2)
        row["faster"] = round(against["latency_ms"] / latency_ms, 2)
        row["change"] = round(row["quality"] - against["quality"], 4)
        rows.append(row)
    return rows


def comparison_table(rows: Sequence[Row]) -> str:
    """For people. `smaller`, `faster` and `change` are against the first row of the same engine."""
    classifies = "accuracy" in rows[0]["figures"]
    quality_is = str(rows[0]["quality_is"])
    also = ["accuracy", "calibration error"] if classifies else []
    head = ["model", "MB", "smaller", "zero weights", quality_is, "change", *also, "ms", "faster"]
    cells = []
    for row in rows:
        figures = row["figures"]
        told = [f"{figures['accuracy']:.3f}", f"{figures['calibration_error']:.3f}"] if classifies else []
        cells.append([
            row["model"],
            f"{row['megabytes']:.2f}",
            f"{row['smaller']:.2f}x",
            "-" if row["sparsity"] is None else f"{row['sparsity']:.1%}",
            f"{row['quality']:.3f}",
            f"{row['change']:+.3f}",
            *told,
            f"{row['latency_ms']:.2f}",
            f"{row['faster']:.2f}x",
        ])  # fmt: skip
    return markdown(head, cells)
