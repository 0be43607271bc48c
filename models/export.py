"""`python -m models export`: a trained run to a bundle with an FP32 ONNX model, checked against PyTorch."""

import argparse
import logging
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime import InferenceSession

from edge.frame import Image
from models.bundle_writer import add_file, golden_inputs, read_manifest, write_golden, write_manifest
from models.mask_outputs import append_mask
from models.network import Deployed
from models.train import TrainSettings, load_checkpoint
from models.train_segmenter import SegmenterSettings, is_segmenter, load_segmenter
from models.unet import DeployedSegmenter

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
    if is_segmenter(args.run):
        export_segmenter(args)
        return
    network, labels, settings, data = load_checkpoint(args.run)
    inputs = golden_inputs(settings.spec)
    deployed = Deployed(network).eval()
    with torch.no_grad():
        wanted = np.concatenate([deployed(torch.from_numpy(image[None])).numpy() for image in inputs])
    args.out.mkdir(parents=True, exist_ok=True)
    _remove_old_files(args.out)
    write_onnx(deployed, torch.from_numpy(inputs[:1]), args.out / FILE)
    difference = float(np.abs(_answers(args.out / FILE, inputs) - wanted).max())
    if not difference <= LARGEST_DIFFERENCE:
        (args.out / FILE).unlink()
        raise ValueError(f"the exported model differs from PyTorch by {difference:.2g}: nothing was written")
    manifest = {
        "schema": "edgecls/bundle/1",
        "name": args.name or args.out.resolve().name,
        "version": args.version,
        "task": "classification",
        "labels": list(labels),
        "pass_label": labels[0],
        "input": _input(settings),
        "files": [],
        "golden": write_golden(args.out, inputs),
        "metrics": {},
        "provenance": {"data": {"source": args.data_source, **data}, "training": _training(settings)},
    }
    add_file(args.out, manifest, "fp32", FILE, wanted)
    write_manifest(args.out, manifest)
    print(f"{args.out}: {FILE} differs from PyTorch by {difference:.1g} at most on {len(inputs)} golden inputs")


def _remove_old_files(bundle: Path) -> None:
    """What an earlier bundle in this place consisted of: its INT8 model was made from other weights."""
    if (bundle / "model.json").is_file():
        for entry in read_manifest(bundle)["files"]:
            (bundle / entry["path"]).unlink(missing_ok=True)
        (bundle / "model.json").unlink()


def export_segmenter(args: argparse.Namespace) -> None:
    """`run`, for a run of `train-segmenter`: the graph ends in a mask and its confidence.

    Raises:
        ValueError, OSError: as above.
    """
    network, labels, settings, data = load_segmenter(args.run)
    inputs = golden_inputs(settings.spec)
    deployed = DeployedSegmenter(network).eval()
    with torch.no_grad():
        logits = np.concatenate([deployed(torch.from_numpy(image[None])).numpy() for image in inputs])
    args.out.mkdir(parents=True, exist_ok=True)
    _remove_old_files(args.out)
    path = args.out / FILE
    write_onnx(deployed, torch.from_numpy(inputs[:1]), path, output="logits")
    wanted = torch.from_numpy(logits).softmax(1).numpy()
    difference = float(np.abs(torch.from_numpy(_answers(path, inputs)).softmax(1).numpy() - wanted).max())
    if not difference <= LARGEST_DIFFERENCE:
        path.unlink()
        raise ValueError(f"the exported model differs from PyTorch by {difference:.2g}: nothing was written")
    model = onnx.load(path)
    append_mask(model)
    onnx.save(model, path)
    manifest = {
        "schema": "edgecls/bundle/1",
        "name": args.name or args.out.resolve().name,
        "version": args.version,
        "task": "segmentation",
        "labels": list(labels),
        "pass_label": labels[0],
        "min_area": dict.fromkeys(labels[1:], "0.02 %"),
        "input": _input(settings),
        "files": [],
        "golden": write_golden(args.out, inputs),
        "metrics": {},
        "provenance": {"data": {"source": args.data_source, **data}, "training": _training(settings)},
    }
    add_file(args.out, manifest, "fp32", FILE, mask_scores(wanted))
    write_manifest(args.out, manifest)
    print(
        f"{args.out}: the scores of the pixels differ from PyTorch by {difference:.1g} at most on {len(inputs)} inputs"
    )


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


def _input(settings: TrainSettings | SegmenterSettings) -> dict[str, object]:
    spec = settings.spec
    return {
        "width": spec.width,
        "height": spec.height,
        "channels": spec.channels,
        "colour": spec.colour,
        "layout": "NHWC",
        "dtype": "uint8",
        "normalisation": "per_picture",
        "mean": [0.0] * spec.channels,
        "std": [1.0] * spec.channels,
        "resize": spec.resize,
    }


def _training(settings: TrainSettings | SegmenterSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}
