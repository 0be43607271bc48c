"""`python -m models evaluate`: a bundle through the runtime's own backends on labelled pictures."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edge.backends import BACKENDS, BackendName, EngineSettings
from edge.bundle import Bundle, Precision, load_bundle
from edge.engine import Engine
from edge.preprocess import Preprocessor
from edge.sources.images import read_image
from models.bundle_writer import read_manifest, write_manifest
from models.dataset import Picture, read_dataset
from models.evaluate_masks import evaluate_masks, mask_table
from models.metrics import Matrix, accuracy, balanced_accuracy, confusion, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `evaluate`."""
    parser.add_argument("--model", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="(default: every one)")
    parser.add_argument("--precision", choices=("int8", "fp16", "fp32"), action="append", help="(default: every one)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--keep", action="store_true", help="keep the figures in the bundle's model.json")


def run(args: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        ValueError: no such pictures, or labels that the model does not know.
        EdgeError: the bundle or an engine cannot be used.
    """
    bundle = load_bundle(args.model)
    pictures = read_dataset(args.data, bundle.manifest.pass_label).split(args.split)
    unknown = sorted({p.label for p in pictures} - set(bundle.labels))
    if unknown or not pictures:
        raise ValueError(
            f"{args.data}, split {args.split}: {len(pictures)} pictures, labels that the model does not know: "
            f"{', '.join(unknown) or 'none'}; the model knows {', '.join(bundle.labels)}"
        )
    if bundle.manifest.task == "segmentation":
        results = evaluate_masks(bundle, pictures, args.backend or BACKENDS, args.precision or bundle.precisions)
        if not args.json:
            print(mask_table(results, bundle.labels[1:]))
    else:
        results = _of_a_classifier(bundle, pictures, args)
    if args.json:
        print(json.dumps({"model": bundle.manifest.name, "split": args.split, "results": results}, ensure_ascii=False))
    if args.keep:
        manifest = read_manifest(args.model)
        manifest["metrics"][args.split] = results
        write_manifest(args.model, manifest)


def _of_a_classifier(bundle: Bundle, pictures: list[Picture], args: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for precision in args.precision or bundle.precisions:
        for backend in args.backend or BACKENDS:
            matrix = measure(bundle, pictures, backend, precision)
            results[f"{precision} {backend}"] = {
                "pictures": len(pictures),
                "accuracy": round(accuracy(matrix), 4),
                "balanced_accuracy": round(balanced_accuracy(matrix), 4),
                "confusion": matrix.tolist(),
            }
            if not args.json:
                figures = results[f"{precision} {backend}"]
                print(
                    f"\n{precision} on {backend}: balanced accuracy {figures['balanced_accuracy']:.4f}, "
                    f"accuracy {figures['accuracy']:.4f}, {len(pictures)} pictures of {args.split}\n"
                )
                print(table(matrix, bundle.labels))
    return results


def measure(bundle: Bundle, pictures: list[Picture], backend: BackendName, precision: Precision) -> Matrix:
    """The confusion matrix of one engine."""
    slot = Engine(bundle, EngineSettings(backend=backend, precision=precision)).slot()
    preprocess = Preprocessor(bundle.manifest.input.spec, slot.input)
    answers = []
    for picture in tqdm(pictures, desc=f"{precision} {backend}", unit="picture", leave=False, disable=None):
        preprocess(read_image(picture.image))
        slot.infer()
        answers.append(int(np.argmax(slot.scores[0])))
    truth = [bundle.labels.index(picture.label) for picture in pictures]
    return confusion(truth, answers, len(bundle.labels))
