"""`python -m models quantize`: add a statically quantised INT8 model (QDQ) to a bundle."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.backends import EngineSettings, Plan, as_scores
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, load_bundle
from edge.conversion.quantise import METHODS, quantise
from edge.engine import Engine
from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from edge.tiles import TilePreprocessor
from models.bundle_writer import add_file, read_manifest, write_manifest
from models.dataset import Picture, read_dataset

__all__ = ["METHODS", "quantise"]

FILE = "model.int8.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `quantize`."""
    parser.add_argument("--model", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="labelled pictures to calibrate with")
    parser.add_argument("--split", default="train", choices=("train", "val", "all"))
    parser.add_argument(
        "--count", type=int, default=256, help="pictures, spread over the labels (default: %(default)s)"
    )
    parser.add_argument("--method", choices=sorted(METHODS), default="minmax")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> None:
    """Quantise, check that the runtime can run it, and enter it into the bundle.

    Raises:
        ValueError: no bundle, no pictures.
        EdgeError: the bundle is damaged.
    """
    bundle = load_bundle(args.model)
    pictures = _spread(read_dataset(args.data).split(args.split), args.count, args.seed)
    if not pictures:
        raise ValueError(f"{args.data} has no pictures in the split {args.split}: nothing to calibrate with")
    path = args.model / FILE
    fp32 = bundle.file("fp32", "onnxruntime")
    # A skip that is joined in INT8 need not become floating point on its way.
    also = ["Concat"] if bundle.manifest.task == "segmentation" else []
    quantise(fp32, path, _prepared(pictures, bundle.manifest.input.spec), args.method, also)
    manifest = read_manifest(args.model)
    add_file(args.model, manifest, "int8", FILE, golden_scores(path, bundle))
    manifest["provenance"]["quantisation"] = {"method": args.method, "pictures": len(pictures), "format": "QDQ"}
    write_manifest(args.model, manifest)
    engine = Engine(load_bundle(args.model), EngineSettings(precision="int8"))
    sizes = fp32.stat().st_size, path.stat().st_size
    print(
        f"{path}: {sizes[1] / 1e6:.2f} MB, {sizes[0] / sizes[1]:.2f} times smaller; "
        f"calibrated with {len(pictures)} pictures ({args.method}); runs in {engine.plan.backend}; "
        f"scores of the golden inputs differ from FP32 by {difference_to_fp32(args.model):.2f} at most"
    )


def difference_to_fp32(path: Path) -> float:
    """The largest difference that quantising made to a score of a golden input of a bundle."""
    scores = load_bundle(path).manifest.golden.scores
    return float(np.abs(np.array(scores["int8"]) - np.array(scores["fp32"])).max())


def golden_scores(model: Path, bundle: Bundle) -> npt.NDArray[np.float32]:
    """What ONNX Runtime's own backend answers to the golden inputs."""
    spec = bundle.manifest.input.spec
    picture: Image = np.empty(spec.shape, np.uint8)
    outputs = bundle.make_outputs()
    run = OnnxRuntimeBackend(model, spec, Plan("onnxruntime", "cpu", "int8"), None).bind(picture, *outputs)
    rows = []
    for image in bundle.golden_inputs:
        picture[0] = image
        run()
        rows.append(as_scores(bundle, outputs)[0].copy())
    return np.stack(rows)


def _prepared(pictures: list[Picture], spec: InputSpec) -> Iterator[Image]:
    """Pictures through the very preprocessing of the daemon, (1, height, width, channels) each; tiles one by one."""
    room: Image = np.empty(spec.shape, np.uint8)

    def make_room(tiles: int) -> Image:
        nonlocal room
        room = np.empty((tiles, *spec.shape[1:]), np.uint8)
        return room

    preprocess = TilePreprocessor(spec, make_room) if spec.resize == "tile" else Preprocessor(spec, room)
    for picture in pictures:
        preprocess(read_image(picture.image))
        yield from (one[None].copy() for one in room)


def _spread(pictures: list[Picture], count: int, seed: int) -> list[Picture]:
    """`count` pictures, as evenly over the labels as there are pictures of each."""
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[Picture]] = {}
    for index in rng.permutation(len(pictures)):
        by_label.setdefault(pictures[index].label, []).append(pictures[index])
    chosen: list[Picture] = []
    while len(chosen) < min(count, len(pictures)):
        chosen += [rest.pop() for rest in by_label.values() if rest]
    return chosen[:count]
