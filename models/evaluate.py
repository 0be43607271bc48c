"""`python -m models evaluate`: a bundle through the runtime's own backends on labelled pictures."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.backends import BACKENDS
from edge.bundle import Bundle, load_bundle
from models.bundle_writer import edited, read_manifest, write_manifest
from models.charts import draw_evaluation
from models.dataset import Picture, known_pictures, truth_of
from models.evaluate_masks import evaluate_masks, mask_table
from models.measure import figures_of_scores, scores_on, subject, subjects_of
from models.metrics import Bin, Matrix, Scores, reliability, table
from models.tables import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `evaluate`."""
    parser.add_argument("--model", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="(default: every one)")
    parser.add_argument("--precision", choices=("int8", "fp16", "fp32"), action="append", help="(default: every one)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write evaluate.md, evaluate.json and evaluate.png")
    parser.add_argument("--keep", action="store_true", help="keep the figures in the bundle's model.json")
    parser.add_argument(
        "--temperature",
        action="store_true",
        help="make the scores mean what they say: fit a temperature on these pictures and put it into the bundle",
    )


def run(args: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        ValueError: no such pictures, or labels that the model does not know.
        EdgeError: the bundle or an engine cannot be used.
    """
    bundle = load_bundle(args.model)
    pictures = known_pictures(args.data, args.split, bundle.labels, bundle.manifest.pass_label)
    segments = bundle.manifest.task == "segmentation"
    if segments and args.temperature:
        raise ValueError("--temperature is for classifiers: a mask's confidence has no softmax of one picture")
    if args.temperature:
        _temper(args, bundle, pictures)
        bundle = load_bundle(args.model)
    if segments:
        results = evaluate_masks(bundle, pictures, args.backend or BACKENDS, args.precision or bundle.precisions)
        text = mask_table(results, bundle.labels[1:])
    else:
        scores = _scores(args, bundle, pictures)
        truth = truth_of(pictures, bundle.labels)
        results = {name: figures_of_scores(of, truth) for name, of in scores.items()}
        text = _text(results, bundle.labels, args.split)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            _draw(args, bundle, scores, results, truth)
    document = {"model": bundle.manifest.name, "split": args.split, "labels": bundle.labels, "results": results}
    if args.out:
        fenced = text if segments else f"```text\n{text}\n```"
        write_report(args.out, "evaluate", f"# {bundle.manifest.name}\n\n{fenced}", document)
    print(json.dumps(document, ensure_ascii=False) if args.json else text)
    if args.keep:
        manifest = read_manifest(args.model)
        manifest["metrics"][args.split] = results
        write_manifest(args.model, manifest)


def _scores(args: argparse.Namespace, bundle: Bundle, pictures: Sequence[Picture]) -> dict[str, Scores]:
    """(pictures, labels) of every engine, per "PRECISION BACKEND"."""
    found = {
        f"{precision} {backend}": scores_on(subject(bundle, precision, backend), pictures)
        for precision in args.precision or bundle.precisions
        for backend in args.backend or BACKENDS
        if args.backend or precision in bundle.precisions_for(backend)
    }
    if not found:
        raise ValueError(f"{bundle.path} has no model for these engines: leave --backend or --precision away")
    return found


def _text(results: dict[str, Any], labels: tuple[str, ...], split: str) -> str:
    parts = []
    for engine, figures in results.items():
        precision, backend = engine.split()
        parts.append(
            f"{precision} on {backend}: balanced accuracy {figures['balanced_accuracy']:.4f}, "
            f"accuracy {figures['accuracy']:.4f}, calibration error {figures['calibration_error']:.4f}, "
            f"{figures['pictures']} pictures of {split}\n\n{table(np.array(figures['confusion']), labels)}"
        )
    return "\n\n".join(parts)


def _draw(
    args: argparse.Namespace,
    bundle: Bundle,
    scores: dict[str, Scores],
    results: dict[str, Any],
    truth: Matrix,
) -> None:
    matrices: dict[str, Matrix] = {name: np.array(figures["confusion"]) for name, figures in results.items()}
    bins: dict[str, list[Bin]] = {name: reliability(of, truth) for name, of in scores.items()}
    title = f"{bundle.manifest.name}: {len(truth)} pictures of {args.split}"
    draw_evaluation(matrices, bins, bundle.labels, args.out / "evaluate.png", title)


def _temper(args: argparse.Namespace, bundle: Bundle, pictures: Sequence[Picture]) -> None:
    """Fit a temperature on the first precision that is asked for, else on FP32, and enter it into all."""
    from models.temperature import enter, fit  # noqa: PLC0415  # OpenVINO is slow to load, and seldom wanted

    precision = (args.precision or sorted(bundle.precisions, key=lambda one: one != "fp32"))[0]
    backend = next(one for one in args.backend or BACKENDS if precision in bundle.precisions_for(one))
    scores = scores_on(subject(bundle, precision, backend), pictures)
    fitted = fit(scores, truth_of(pictures, bundle.labels), [picture.tile for picture in pictures])
    note = {
        "fitted_on": args.split,
        "pictures": len(pictures),
        "engine": f"{precision} {backend}",
        "calibration_error": [round(fitted.before, 4), round(fitted.after, 4)],
        "log_loss": [round(fitted.log_loss_before, 4), round(fitted.log_loss_after, 4)],
    }
    with edited(args.model) as folder:
        manifest = read_manifest(folder)
        value = enter(folder, manifest, fitted, note)
        manifest["metrics"] = {}  # their scores are no more
        write_manifest(folder, manifest)
        problems = subjects_of(load_bundle(folder))[1]
        if problems:
            raise ValueError(problems[0])
    print(
        f"temperature {value:.3f}: calibration error {fitted.before:.4f} before, {fitted.after:.4f} after, log loss "
        f"{fitted.log_loss_before:.4f} before, {fitted.log_loss_after:.4f} after, on pictures that it was not fitted on"
    )
