"""`python -m models import-nnunet`: a results folder of nnU-Net v2 to a bundle that draws masks."""

import argparse
import logging
import math
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime import InferenceSession

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.engine import Engine
from edge.frame import Image
from edge.preprocess import InputSpec
from edge.sources.images import read_image
from edge.tiles import TilePreprocessor
from models.bundle_writer import add_file, golden_inputs, name_of, write_golden, write_manifest
from models.dataset import SUFFIXES
from models.export import FILE, mask_scores, softmax
from models.mask_outputs import append_mask
from models.nnunet.network import DeployedNnUNet, build
from models.nnunet.plans import Normalisation, ResultsError
from models.nnunet.results import FINAL, Results, read_results
from models.onnx_export import OPSET

LARGEST_DIFFERENCE = 1e-3
"""Of a logit, between the ONNX model and the PyTorch original."""
PICTURES = 8
"""So many of the folder --images are compared."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `import-nnunet`."""
    parser.add_argument("results", type=Path, metavar="RESULTS_DIR", help="as in nnUNetTrainer__nnUNetPlans__2d")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle; must be new")
    parser.add_argument("--name", help="of the model (default: the folder's)")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--fold", nargs="+", metavar="N", help="take these folds (default: all, averaged)")
    parser.add_argument("--checkpoint", default=FINAL, metavar="FILE", help="in each fold (default: %(default)s)")
    parser.add_argument("--pass-label", metavar="NAME", help="call the background so (default: as in dataset.json)")
    parser.add_argument("--input", metavar="WxH", help="size of a tile (default: the patch of the plans)")
    parser.add_argument("--overlap", type=int, help="of tiles, in pixels (default: half a tile, as in nnU-Net)")
    parser.add_argument("--spacing", type=float, help="of the camera's pixels, in the unit of the training pictures")
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures on which ONNX is held against PyTorch")
    parser.add_argument("--data-source", default="", help="where the pictures come from, kept in the bundle")


def run(args: argparse.Namespace) -> None:
    """Read the folder, export its network, hold it against PyTorch, and write the bundle.

    Raises:
        ValueError: the folder or an option does not fit, or the exported model answers otherwise than the original.
        EdgeError: a picture cannot be read, or the engine does not take the model.
        OSError: the bundle cannot be written.
    """
    if args.out.exists():
        raise ValueError(f"{args.out} is there already: remove it, or give another --out")
    torch.set_num_threads(min(2, torch.get_num_threads()))
    results = read_results(args.results, args.fold, args.checkpoint)
    spec, scale = _input_of(results, args)
    network = DeployedNnUNet(build(results), results.configuration, scale).eval()
    print(f"{args.results}: {_told(results, spec)}", flush=True)
    inputs = golden_inputs(spec)
    batches = [image[None] for image in inputs]
    if args.images:
        batches += _tiles_of(args.images, spec)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    # Beside where it goes, and moved there when it is whole: nobody finds half a bundle.
    folder = Path(tempfile.mkdtemp(prefix=f".{args.out.name}.", dir=args.out.parent))
    try:
        difference, wanted = _export(network, batches, folder / FILE)
        manifest = _manifest(results, spec, scale, args)
        manifest["golden"] = write_golden(folder, inputs)
        scores = np.concatenate([mask_scores(softmax(logits)) for logits in wanted[: len(inputs)]])
        add_file(folder, manifest, "fp32", FILE, scores)
        write_manifest(folder, manifest)
        Engine(load_bundle(folder), EngineSettings(backend="onnxruntime", precision="fp32"))
        folder.chmod(0o755)
        folder.rename(args.out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{args.out}: {FILE}, {(args.out / FILE).stat().st_size / 1e6:.1f} MB; its logits differ from PyTorch by "
        f"{difference:.1g} at most on {len(batches)} pictures"
    )


def _input_of(results: Results, args: argparse.Namespace) -> tuple[InputSpec, tuple[float, float]]:
    """What a tile is, and by what it is scaled before the network sees it."""
    configuration = results.configuration
    scale = (1.0, 1.0)
    if args.spacing is not None:
        if not (math.isfinite(args.spacing) and args.spacing > 0):
            raise ValueError(f"--spacing {args.spacing}: give a length, more than 0")
        scale = (args.spacing / configuration.spacing[0], args.spacing / configuration.spacing[1])
    seen = configuration.patch
    if args.input:
        width, _, height = args.input.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            raise ValueError(f"--input {args.input}: give width and height in pixels, as in 320x256")
        seen = (int(height), int(width))
    sides = [max(1, round(side / of)) for side, of in zip(seen, scale, strict=True)]
    inside = [round(side * of) for side, of in zip(sides, scale, strict=True)]
    for side, divisor, name in zip(inside, configuration.divisor, ("height", "width"), strict=True):
        if side % divisor or side < divisor:
            raise ValueError(f"--input: the {name} is {side} pixels for the network: give a multiple of {divisor}")
    overlap = min(sides) // 2 if args.overlap is None else args.overlap
    if not 0 <= overlap < min(sides):
        raise ValueError(f"--overlap {overlap}: give 0 to {min(sides) - 1}, less than a tile")
    colour = "GRAY" if results.channels == 1 else "BGR"
    return InputSpec(sides[1], sides[0], colour, "tile", overlap=overlap), scale  # type: ignore[arg-type]  # one of two


def _told(results: Results, spec: InputSpec) -> str:
    configuration = results.configuration
    folds = list(results.folds)
    several = f"folds {', '.join(folds)}, averaged" if len(folds) > 1 else f"fold {folds[0]}"
    first = results.folds[folds[0]]
    schemes = ", ".join(sorted({one.scheme for one in configuration.normalisations}))
    return (
        f"{results.dataset or 'no name'}, {configuration.name}, {several} of {first.trainer}, {first.epochs} epochs; "
        f"{configuration.network}, {len(results.labels)} labels, {schemes}, tiles of {spec.width}x{spec.height} pixels "
        f"that overlap by {spec.overlap}"
    )


def _tiles_of(folder: Path, spec: InputSpec) -> list[Image]:
    """The tiles of some pictures, (n, height, width, channels) of each, as the daemon cuts them."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} has no pictures: give a folder with some for --images")
    found = []

    def make_room(tiles: int) -> Image:
        found.append(np.empty((tiles, *spec.shape[1:]), np.uint8))
        return found[-1]

    for path in paths[:: max(1, len(paths) // PICTURES)][:PICTURES]:
        TilePreprocessor(spec, make_room)(read_image(path))
    return found


def _export(network: DeployedNnUNet, batches: list[Image], path: Path) -> tuple[float, list[npt.NDArray[np.float32]]]:
    """Write the model with its mask; how far its logits lie off, and those of PyTorch for each batch."""
    write_tiles_onnx(network, torch.from_numpy(np.repeat(batches[0], 2, 0)), path)
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted, difference = [], 0.0
    for batch in batches:
        with torch.no_grad():
            wanted.append(network(torch.from_numpy(batch)).numpy())
        difference = max(difference, float(np.abs(session.run(None, {"image": batch})[0] - wanted[-1]).max()))
    if not difference <= LARGEST_DIFFERENCE:
        raise ResultsError(
            f"the exported model's logits differ from PyTorch's by {difference:.2g}: nothing was written"
        )
    model = onnx.load(path)
    append_mask(model)
    onnx.save(model, path)
    return difference, wanted


def write_tiles_onnx(network: torch.nn.Module, example: torch.Tensor, path: Path) -> None:
    """Write a network as ONNX, with the input `image` and the output `logits`, for any number of pictures at a time."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("tiles")}},
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


def _manifest(
    results: Results, spec: InputSpec, scale: tuple[float, float], args: argparse.Namespace
) -> dict[str, Any]:
    configuration = results.configuration
    labels = [args.pass_label or results.labels[0], *results.labels[1:]]
    if len(set(labels)) != len(labels):
        raise ValueError(f"--pass-label {args.pass_label}: a defect has that name")
    of = configuration.normalisations
    fixed = all(one.scheme not in ("ZScoreNormalization", "RescaleTo01Normalization") for one in of)
    mean, std = zip(*(_figures(one) if fixed else (0.0, 1.0) for one in reversed(of)), strict=True)
    return {
        "schema": "edgecls/bundle/1",
        "name": name_of(args.name, args.out.resolve().name),
        "version": args.version,
        "task": "segmentation",
        "labels": labels,
        "pass_label": labels[0],
        "min_area": dict.fromkeys(labels[1:], "0.02 %"),
        "input": {
            "width": spec.width,
            "height": spec.height,
            "channels": spec.channels,
            "colour": spec.colour,
            "layout": "NHWC",
            "dtype": "uint8",
            "normalisation": "fixed" if fixed else "per_picture",
            "mean": list(mean),
            "std": list(std),
            "resize": "tile",
            "overlap": spec.overlap,
        },
        "files": [],
        "metrics": {},
        "provenance": {
            "data": {"source": args.data_source, "dataset": results.dataset},
            "training": {
                "by": "nnU-Net v2",
                "configuration": configuration.name,
                "network": configuration.network,
                "folds": {name: {"trainer": f.trainer, "epochs": f.epochs} for name, f in results.folds.items()},
                "patch": list(configuration.patch),
                "spacing": list(configuration.spacing),
                "scale": list(scale),
                "normalisation": [one.scheme for one in of],
            },
        },
    }


def _figures(how: Normalisation) -> tuple[float, float]:
    """Mean and deviation of values of 0 to 1, for people."""
    if how.scheme == "CTNormalization":
        return how.mean / 255, how.std / 255
    return (0.0, 1.0) if how.scheme == "RGBTo01Normalization" else (0.0, 1 / 255)
