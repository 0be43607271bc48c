"""`python -m models bench-bundles`: bundles of published networks with weights by chance, to measure speed with.

Their scores mean nothing, but differ from picture to picture, so that the golden check holds the engines to something.
The bodies are the published ones; the last layer has four labels in place of a thousand.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from tqdm import tqdm

from edge.bundle import load_bundle
from edge.conversion.quantise import quantise
from models.bundle_writer import TOLERANCE, add_file, golden_inputs, write_golden, write_manifest
from models.export import FILE
from models.extend import Original, check, extend
from models.onnx_export import write_onnx
from models.random_weights import Scores, normalised, randomise, rendered
from models.smaller import FILE as INT8_FILE
from models.smaller import difference_to_fp32, golden_scores
from models.zoo import MEAN, NETWORKS, STD

PUBLISHED = ("resnet18", "resnet50", "mobilenetv3-small")
LABELS = ("ok", "one", "two", "three")
CALIBRATION = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `bench-bundles`."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="one folder for each network goes there")
    parser.add_argument("--only", nargs="+", choices=sorted(PUBLISHED), default=list(PUBLISHED), metavar="NAME")
    parser.add_argument("--size", type=int, default=224, help="width and height in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> None:
    """Write the bundles that are not there yet.

    Raises:
        ValueError: a size that no network takes, or an exported model that does not answer as the original does.
        OSError: the folder cannot be written.
    """
    if args.size < 32:
        raise ValueError(f"--size {args.size}: give 32 or more")
    args.out.mkdir(parents=True, exist_ok=True)
    progress = tqdm(args.only, unit="bundle", disable=None)
    for name in progress:
        progress.set_description(name)
        path = args.out / name
        if path.exists():
            load_bundle(path)  # whole, or said to be damaged
            progress.write(f"{path}: is there already")
            continue
        # Elsewhere first, so that a bundle that is there is whole.
        with tempfile.TemporaryDirectory(dir=args.out) as folder:
            bundle = Path(folder) / name
            bundle.mkdir()
            make_bundle(bundle, name, args.size, args.seed)
            shutil.move(bundle, path)
        progress.write(f"{path}: INT8 scores differ from FP32 by {difference_to_fp32(path):.2f} at most")


def make_bundle(bundle: Path, name: str, size: int, seed: int) -> None:
    """Write one bundle into an empty folder; the same again for the same size and seed."""
    network = NETWORKS[name].make(3, len(LABELS))
    randomise(network, seed, size)
    original = Original("RGB", "NCHW", size, size, "float32", MEAN, STD)
    _write_extended(Scores(network).eval(), original, bundle / FILE)
    inputs = golden_inputs(original.spec)
    with torch.no_grad():
        wanted = Scores(network).eval()(normalised(inputs)).numpy()
    manifest = {
        "schema": "edgecls/bundle/1",
        "name": name,
        "version": "1.0.0",
        "task": "classification",
        "labels": list(LABELS),
        "pass_label": LABELS[0],
        "input": {
            "width": size,
            "height": size,
            "channels": 3,
            "colour": "BGR",
            "layout": "NHWC",
            "dtype": "uint8",
            "mean": list(reversed(MEAN)),
            "std": list(reversed(STD)),
            "resize": "stretch",
        },
        "files": [],
        "golden": write_golden(bundle, inputs),
        "metrics": {},
        "provenance": {"weights": f"by chance, seed {seed}: for measuring speed, the scores mean nothing"},
    }
    add_file(bundle, manifest, "fp32", FILE, wanted)
    write_manifest(bundle, manifest)
    quantise(bundle / FILE, bundle / INT8_FILE, rendered(size, seed + 1, CALIBRATION)[:, None], "minmax")
    add_file(bundle, manifest, "int8", INT8_FILE, golden_scores(bundle / INT8_FILE, load_bundle(bundle)))
    write_manifest(bundle, manifest)
    spread = float(np.ptp(wanted, 0).max())
    if spread <= TOLERANCE["int8"]:
        raise ValueError(f"{name}: golden scores differ by {spread:.2f} only: take another --seed")


def _write_extended(network: nn.Module, original: Original, path: Path) -> None:
    write_onnx(network, torch.zeros(1, 3, original.height, original.width), path)
    model = onnx.load(path)
    extended = extend(model, original)
    check(model, extended, original)
    onnx.save(extended, path)
