"""`python -m models crossvalidate`: what several runs, each with another fold held out, come to together."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle_writer import read_manifest, write_manifest
from models.metrics import balanced_accuracy, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `crossvalidate`."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders that `train --fold N` wrote")
    parser.add_argument("--keep", type=Path, metavar="BUNDLE", help="keep the figures in this bundle's model.json")


def run(args: argparse.Namespace) -> None:
    """Print each run's figure, their mean, and the confusion of all pictures together.

    Every picture was held out once, so that the matrix counts each of them once, as the network saw it that had not
    been trained on its tile.

    Raises:
        ValueError: a folder is no run, or the runs know different labels.
    """
    metrics = [_metrics(path) for path in args.runs]
    labels = tuple(metrics[0]["labels"])
    if any(tuple(m["labels"]) != labels for m in metrics):
        raise ValueError("these runs know different labels: give runs on the same data")
    folds = [float(m["balanced_accuracy"]) for m in metrics]
    matrix = np.sum([m["confusion"] for m in metrics], axis=0)
    for path, figure in zip(args.runs, folds, strict=True):
        print(f"{path.name}: balanced accuracy {figure:.3f}")
    together = balanced_accuracy(matrix)
    print(f"mean {np.mean(folds):.3f}, deviation {np.std(folds):.3f}; all {matrix.sum()} pictures: {together:.3f}\n")
    print(table(matrix, labels))
    if args.keep:
        manifest = read_manifest(args.keep)
        manifest["metrics"]["cross_validation"] = {
            "folds": [round(figure, 4) for figure in folds],
            "mean": round(float(np.mean(folds)), 4),
            "all_pictures": round(together, 4),
            "confusion": matrix.tolist(),
            "precision": "fp32 in PyTorch",
        }
        write_manifest(args.keep, manifest)


def _metrics(run_folder: Path) -> dict[str, Any]:
    path = run_folder / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: give folders that `train` wrote") from error
    return metrics
