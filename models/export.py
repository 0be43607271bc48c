"""`python -m models export`: a trained run to a bundle with an FP32 ONNX model, checked against PyTorch."""

import argparse
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime import InferenceSession

from edge.frame import Image
from models.bundle_writer import add_file, golden_inputs, read_manifest, write_golden, write_manifest
from models.checkpoint import Checkpoint, load_checkpoint
from models.mask_outputs import append_mask
from models.zoo import Network
from models.zoo.deployed import Deployed

FILE = "model.onnx"
OPSET = 18
LARGEST_DIFFERENCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `export`."""
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder that `train` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--name", help="of the model (default: the folder's)")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--data-source", default="", help="where the pictures come from, kept in the bundle")


def run(args: argparse.Namespace) -> None:
    """Write the bundle.

    Raises:
        ValueError: no checkpoint, or the exported model does not answer as the original does.
        OSError: the bundle cannot be written.
    """
    checkpoint = load_checkpoint(args.run)
    network = checkpoint.network
    segments = network.kind.task == "segmentation"
    inputs = golden_inputs(network.spec)
    deployed = Deployed(network, checkpoint.module).eval()
    with torch.no_grad():
        wanted = np.concatenate([deployed(torch.from_numpy(image[None])).numpy() for image in inputs])
    args.out.mkdir(parents=True, exist_ok=True)
    _remove_old_files(args.out)
    path = args.out / FILE
    write_onnx(deployed, torch.from_numpy(inputs[:1]), path, output="logits" if segments else "scores")
    answers = _answers(path, inputs)
    if segments:
        wanted, answers = softmax(wanted), softmax(answers)
    difference = float(np.abs(answers - wanted).max())
    if not difference <= LARGEST_DIFFERENCE:
        path.unlink()
        raise ValueError(f"the exported model differs from PyTorch by {difference:.2g}: nothing was written")
    if segments:
        model = onnx.load(path)
        append_mask(model)
        onnx.save(model, path)
    manifest = _manifest(args, checkpoint)
    manifest["golden"] = write_golden(args.out, inputs)
    add_file(args.out, manifest, "fp32", FILE, mask_scores(wanted) if segments else wanted)
    write_manifest(args.out, manifest)
    print(f"{args.out}: {FILE} differs from PyTorch by {difference:.1g} at most on {len(inputs)} golden inputs")


def _manifest(args: argparse.Namespace, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a bundle says of itself before it has files."""
    network = checkpoint.network
    labels = network.labels
    segments = network.kind.task == "segmentation"
    return {
        "schema": "edgecls/bundle/1",
        "name": args.name or args.out.resolve().name,
        "version": args.version,
        "task": network.kind.task,
        "labels": list(labels),
        "pass_label": labels[0],
        **({"min_area": dict.fromkeys(labels[1:], "0.02 %")} if segments else {}),
        "input": _input(network),
        "files": [],
        "golden": {},
        "metrics": {},
        "provenance": {
            "data": {"source": args.data_source, **checkpoint.data},
            "network": {"name": network.name, **network.settings},
            "training": dict(checkpoint.training),
        },
    }


def _remove_old_files(bundle: Path) -> None:
    """What an earlier bundle in this place consisted of: its INT8 model was made from other weights."""
    if (bundle / "model.json").is_file():
        for entry in read_manifest(bundle)["files"]:
            (bundle / entry["path"]).unlink(missing_ok=True)
        (bundle / "model.json").unlink()


def mask_scores(softmax: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, labels) golden scores of (n, labels, height, width), see `GoldenSection`."""
    labels = softmax.shape[1]
    best, sureness = softmax.argmax(1), softmax.max(1)
    return np.stack([(sureness * (best == label)).mean((1, 2)) for label in range(labels)], 1).astype(np.float32)


def write_onnx(network: torch.nn.Module, example: torch.Tensor, path: Path, output: str = "scores") -> None:
    """Write a network as ONNX, with the input `image` and one output, for inputs of the example's shape."""
    # The exporter tells about packages that we do not use, and about its own future.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=["image"],
            output_names=[output],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


def _answers(path: Path, inputs: Image) -> npt.NDArray[np.float32]:
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in inputs])


def _input(network: Network) -> dict[str, object]:
    spec = network.spec
    inside = network.kind.standardises
    return {
        "width": spec.width,
        "height": spec.height,
        "channels": spec.channels,
        "colour": spec.colour,
        "layout": "NHWC",
        "dtype": "uint8",
        "normalisation": "per_picture" if inside else "fixed",
        "mean": [0.0] * spec.channels if inside else list(spec.mean),
        "std": [1.0] * spec.channels if inside else list(spec.std),
        "resize": spec.resize,
    }


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Over the labels, the second axis."""
    values: npt.NDArray[np.float32] = torch.from_numpy(logits).softmax(1).numpy()
    return values
