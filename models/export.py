"""`python -m models export`: a trained network to a bundle with an FP32 ONNX model, checked against PyTorch."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxslim
import torch
from torch import Tensor

from edge.frame import Image
from edge.preprocess import Preprocessor
from edge.sources.images import read_image
from models.bundle_writer import add_file, golden_inputs, name_of, read_manifest, write_golden, write_manifest
from models.checkpoint import Checkpoint, fill, load_checkpoint, read_weights
from models.dataset import read_dataset
from models.mask_outputs import append_mask
from models.onnx_export import OPSET, SHAPES, Operators, Shapes, differences, write_onnx
from models.train import add_shape_arguments, asked_network
from models.zoo import NETWORKS, Network
from models.zoo.deployed import Deployed, answers

FILE = "model.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `export`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, metavar="RUN", help="folder that `train` or `train-segmenter` wrote")
    source.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights by name that torch saved, as torchvision's"
    )
    parser.add_argument("--network", choices=tuple(NETWORKS), help="with --weights: whose they are")
    parser.add_argument("--labels", metavar="A,B,C|FILE", help="with --weights: in the order of the scores, or a file")
    parser.add_argument("--pass-label", help="with --weights: the label that means good (default: the first one)")
    parser.add_argument("--size", type=int, default=224, help="with --weights: input in pixels (default: %(default)s)")
    parser.add_argument("--colour", choices=("GRAY", "BGR"), default="BGR", help="with --weights")
    add_shape_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument(
        "--shapes", choices=tuple(SHAPES), default="fixed", help="; ".join(f"{k}: {v}" for k, v in SHAPES.items())
    )
    parser.add_argument("--opset", type=int, default=OPSET, help="of ONNX; 13 for the NCS2 (default: %(default)s)")
    parser.add_argument("--no-simplify", dest="simplify", action="store_false", help="leave the graph as exported")
    parser.add_argument("--data", type=Path, metavar="DIR", help="labelled pictures to compare with PyTorch on")
    parser.add_argument("--count", type=int, default=32, help="of them (default: %(default)s)")
    parser.add_argument("--name", help="of the model (default: the folder's)")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--data-source", default="", help="where the pictures come from, kept in the bundle")


def run(args: argparse.Namespace) -> None:
    """Write the bundle.

    Raises:
        ValueError: no checkpoint, or the exported model does not answer as the original does.
        OSError: the bundle cannot be written.
    """
    checkpoint = load_checkpoint(args.run) if args.run else _from_weights(args)
    network = checkpoint.network
    golden = golden_inputs(network.spec)
    inputs = np.concatenate([golden, _pictures(args.data, network, args.count)]) if args.data else golden
    with tempfile.TemporaryDirectory(dir=_first_there(args.out)) as folder:
        new = Path(folder)
        operators, found = export_onnx(checkpoint, new / FILE, inputs, args.shapes, args.opset, simplify=args.simplify)
        manifest = _manifest(args, checkpoint)
        manifest["provenance"]["export"] = {
            "exporter": f"torch {torch.__version__}",
            "opset": args.opset,
            "shapes": args.shapes,
            **({"simplifier": f"onnxslim {onnxslim.__version__}"} if args.simplify else {}),
            "compared_on": {"photographs": len(inputs) - len(golden), "rendered": len(golden)},
            "largest_difference": {name: float(f"{value:.2g}") for name, value in found.items()},
        }
        manifest["golden"] = write_golden(new, golden)
        with torch.no_grad():
            answer = answers(network, checkpoint.module, torch.from_numpy(golden))
        add_file(new, manifest, "fp32", FILE, _golden_scores(network, answer))
        write_manifest(new, manifest)
        install(new, args.out)
    size = (args.out / FILE).stat().st_size / 1e6
    print(f"{operators.table()}\n\n{args.out / FILE}: opset {args.opset}, {SHAPES[args.shapes]}, {size:.2f} MB")
    pictures = f"{len(inputs) - len(golden)} photographs and {len(golden)} rendered pictures"
    for name, value in found.items():
        print(f"{name}: differ from PyTorch by {value:.1g} at most on {pictures}")


def export_onnx(
    checkpoint: Checkpoint,
    path: Path,
    inputs: Image,
    shapes: Shapes = "fixed",
    opset: int = OPSET,
    *,
    simplify: bool = True,
) -> tuple[Operators, dict[str, float]]:
    """Write the network of a checkpoint as the ONNX file of a bundle, held against PyTorch.

    A segmenter's is compared up to its logits, as scores; mask and confidence are put behind them then.

    Returns:
        Its operators, and how far each output is off at most on the inputs.

    Raises:
        ValueError: it cannot be written so, or does not answer as the original does.
    """
    network, module = checkpoint.network, checkpoint.module
    deployed = Deployed(network, module)
    segments = network.kind.task == "segmentation"
    example = torch.from_numpy(inputs[:1])
    operators = write_onnx(
        deployed, example, path, output="logits" if segments else "scores",
        shapes=shapes, opset=opset, simplify=simplify,
    )  # fmt: skip
    found = differences(lambda x: answers(network, module, x), path, inputs, shapes, network.multiple)
    for name, (value, near) in found.items():
        if not near:
            path.unlink()
            raise ValueError(f"{name} of the exported model differ from PyTorch by {value:.2g}: nothing was written")
    if segments:
        model = onnx.load(path)
        append_mask(model)
        onnx.save(model, path)
    return operators, {name: value for name, (value, _) in found.items()}


def install(new: Path, bundle: Path) -> None:
    """Put a finished bundle in the place of what is there, so that nobody ever sees half of one.

    An earlier bundle's own files go; other files in its folder stay.

    Raises:
        OSError: the folder cannot be written.
    """
    bundle.mkdir(parents=True, exist_ok=True)
    if (bundle / "model.json").is_file():
        old = read_manifest(bundle)
        (bundle / "model.json").unlink()  # from here on it is no bundle, until the new one's is there
        for entry in old["files"]:
            (bundle / entry["path"]).unlink(missing_ok=True)
    for file in sorted(new.iterdir(), key=lambda file: file.name == "model.json"):
        file.replace(bundle / file.name)


def _from_weights(args: argparse.Namespace) -> Checkpoint:
    """What the command line says of weights of elsewhere."""
    missing = [f"--{name}" for name in ("network", "labels") if getattr(args, name) is None]
    if missing:
        raise ValueError(f"{args.weights} holds weights alone: say whose they are with {' and '.join(missing)}")
    labels = _labels(args.labels)
    network = asked_network(args, args.network, labels)
    saved = read_weights(args.weights, "give weights by name, as `torch.save(network.state_dict(), FILE)` writes them")
    state = next((saved[key] for key in ("state_dict", "model", "state") if isinstance(saved.get(key), dict)), saved)
    module = network.make()
    fill(module, state, f"{args.weights} does not fit {network.name} with {len(labels)} labels")
    return Checkpoint(network, module.eval(), {}, {"weights": args.weights.name})


def _labels(given: str) -> tuple[str, ...]:
    lines = Path(given).read_text(encoding="utf-8").splitlines() if Path(given).is_file() else given.split(",")
    labels = tuple(line.strip() for line in lines if line.strip())
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"--labels {given}: give two or more, each once, with commas between or in lines of a file")
    return labels


def _pictures(data: Path, network: Network, count: int) -> Image:
    """`count` pictures of those held out, evenly over the labels, as the network takes them."""
    pictures = read_dataset(data).split("val")
    if not pictures:
        raise ValueError(f"{data} has no pictures in the split val: nothing to compare on")
    chosen = pictures[:: max(1, len(pictures) // count)][:count]
    stack: Image = np.empty((len(chosen), *network.spec.shape[1:]), np.uint8)
    for number, picture in enumerate(chosen):
        Preprocessor(network.spec, stack[number : number + 1])(read_image(picture.image))
    return stack


def _first_there(path: Path) -> Path:
    """The folder in which a new one can be made that is moved to `path` later."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _manifest(args: argparse.Namespace, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a bundle says of itself before it has files."""
    network = checkpoint.network
    labels = network.labels
    passes = args.pass_label or labels[0]
    if passes not in labels:
        raise ValueError(f"--pass-label {passes} is not one of the labels {', '.join(labels)}")
    segments = network.kind.task == "segmentation"
    return {
        "schema": "edgecls/bundle/1",
        "name": name_of(args.name, args.out.resolve().name),
        "version": args.version,
        "task": network.kind.task,
        "labels": list(labels),
        "pass_label": passes,
        **({"min_area": {label: "0.02 %" for label in labels if label != passes}} if segments else {}),
        "input": _input(network),
        "files": [],
        "golden": {},
        "metrics": {},
        "provenance": {
            "data": {"source": args.data_source, **checkpoint.data},
            "network": {"name": network.name, **network.settings},
            "training": dict(checkpoint.training),
            **({"pruning": dict(checkpoint.pruned)} if checkpoint.pruned else {}),
        },
    }


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
        "fill": spec.fill,
    }


def _golden_scores(network: Network, answer: Tensor) -> npt.NDArray[np.float32]:
    """(n, labels) of what the original says to the golden inputs."""
    values: npt.NDArray[np.float32] = answer.numpy()
    return mask_scores(softmax(values)) if network.kind.task == "segmentation" else values


def mask_scores(softmax: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, labels) golden scores of (n, labels, height, width), see `GoldenSection`."""
    labels = softmax.shape[1]
    best, sureness = softmax.argmax(1), softmax.max(1)
    return np.stack([(sureness * (best == label)).mean((1, 2)) for label in range(labels)], 1).astype(np.float32)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Over the labels, the second axis."""
    values: npt.NDArray[np.float32] = torch.from_numpy(logits).softmax(1).numpy()
    return values
