"""`python -m models train`: a classifier of the zoo on a folder of labelled pictures."""

import argparse
import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge.preprocess import FILL
from models.augment import Sample
from models.checkpoint import Checkpoint, save_checkpoint
from models.dataset import Picture, read_dataset, refuse_lone_pictures
from models.metrics import Matrix, balanced_accuracy, confusion
from models.picture import draw_curves
from models.start import start_from
from models.training import Losses, Recipe, Row, batch_of, fit, mixed_precision, tensor_of
from models.zoo import CLASSIFIERS, Draws, Network, describe

AT_ONCE = 8
"""Pictures held out that are looked at together."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `train`."""
    default = Recipe()
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for checkpoint, curves, metrics")
    parser.add_argument("--network", choices=CLASSIFIERS, default="defect-net", help="(default: %(default)s)")
    parser.add_argument("--start", type=Path, metavar="FILE", help="begin with the weights of a run, or of torchvision")
    parser.add_argument("--pass-label", help="the label that means good (default: ok, good or free)")
    parser.add_argument("--size", type=_size, default=(256, 256), help="of the input, 256 or 384x224 (default: 256)")
    parser.add_argument("--colour", choices=("GRAY", "BGR"), default="GRAY")
    parser.add_argument("--resize", choices=("stretch", "letterbox"), default="stretch", help="(default: %(default)s)")
    parser.add_argument("--fill", type=int, default=FILL, help="grey level beside a letterboxed picture")
    add_shape_arguments(parser)
    add_recipe_arguments(parser, default)
    parser.add_argument("--crop", type=int, default=default.crop, help="train on cuts of so many pixels a side")
    parser.add_argument("--label-smoothing", type=float, default=default.label_smoothing)
    parser.add_argument("--fold", type=int, help="hold out this fold instead of the split `val`")


def add_shape_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of networks."""
    parser.add_argument("--width", type=int, help="channels at first (default: the network's own)")
    parser.add_argument("--levels", type=int, help="sizes that a U-Net looks at, each half of the one before")
    parser.add_argument("--skips", type=int, help="keep so many of a U-Net's skips, the shallow ones (default: all)")


def add_recipe_arguments(parser: argparse.ArgumentParser, default: Recipe) -> None:
    """How to train."""
    parser.add_argument("--epochs", type=int, default=default.epochs, help="(default: %(default)s)")
    parser.add_argument("--samples", type=int, default=default.samples, help="per epoch (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=default.batch, help="(default: %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate, help="(default: %(default)s)")
    parser.add_argument("--paste-share", type=float, default=default.paste_share, help="defects shown on other parts")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: all cores)")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    try:
        return int(width), int(height or width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: give a size such as 256 or 384x224") from None


def asked_network(args: argparse.Namespace, name: str, labels: tuple[str, ...]) -> Network:
    """The network that the command line describes.

    Raises:
        ValueError: an option does not fit it.
    """
    given = {key: getattr(args, key) for key in ("width", "levels", "skips", "stride") if hasattr(args, key)}
    wanted = {key: value for key, value in given.items() if value is not None}
    size = args.size if isinstance(args.size, tuple) else (args.size, args.size)
    fit = (args.resize, args.fill) if hasattr(args, "resize") else ()
    if fit and not 0 <= args.fill <= 255:
        raise ValueError(f"--fill {args.fill}: give a grey level, 0 to 255")
    return describe(name, labels, size, args.colour, wanted, *fit)


def asked_recipe(args: argparse.Namespace, default: Recipe) -> Recipe:
    """The recipe that the command line describes.

    Raises:
        ValueError: there is nothing to do by it.
    """
    asked = {one.name: getattr(args, one.name) for one in fields(Recipe) if hasattr(args, one.name)}
    recipe = replace(default, **asked)
    if min(recipe.epochs, recipe.samples, recipe.batch) < 1:
        raise ValueError("--epochs, --samples and --batch: give 1 or more of each")
    if recipe.crop and (recipe.crop % 32 or recipe.crop < 64 or args.resize != "letterbox" or args.colour != "GRAY"):
        raise ValueError(f"--crop {recipe.crop}: give 64 or more, a multiple of 32, with --resize letterbox and GRAY")
    return recipe


def run(args: argparse.Namespace) -> None:
    """Train, and write `checkpoint.pt`, `curves.png` and `metrics.json` into the run's folder.

    Raises:
        ValueError: the folder is no data set, or a setting makes no sense.
        OSError: the run's folder cannot be written.
    """
    asked_network(args, args.network, ("ok", "defect"))  # what makes no sense is said before pictures are read
    dataset = read_dataset(args.data, args.pass_label)
    refuse_lone_pictures(dataset)
    network, recipe = asked_network(args, args.network, dataset.labels), asked_recipe(args, Recipe())
    training, held_out = dataset.fold(args.fold) if args.fold is not None else (
        dataset.split("train"),
        dataset.split("val"),
    )  # fmt: skip
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(recipe.seed)
    module = network.make()
    if args.start:
        start_from(module, args.start)
    args.out.mkdir(parents=True, exist_ok=True)
    module, history, matrix = train(network, module, training, held_out, recipe)
    data = {"folder": args.data.name, "training": len(training), "held_out": len(held_out), "fold": args.fold}
    save_checkpoint(args.out, Checkpoint(network, module, asdict(recipe), data))
    draw_curves(history, args.out / "curves.png", args.out.name)
    metrics = {
        "network": network.as_json(),
        "labels": network.labels,
        "balanced_accuracy": balanced_accuracy(matrix),
        "confusion": matrix.tolist(),
        "history": history,
    }
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"balanced accuracy {metrics['balanced_accuracy']:.3f} on {len(held_out)} pictures held out; see {args.out}")


def train(
    network: Network, module: nn.Module, training: list[Picture], held_out: list[Picture], recipe: Recipe
) -> tuple[nn.Module, list[Row], Matrix]:
    """Train a classifier on one list of pictures and measure on the other, which has no influence on the training.

    Returns:
        The network in evaluation mode, a row for each epoch, and the last confusion matrix of the pictures held out.
    """
    labels = network.labels
    test_x, test_y = tensor_of(held_out, network.spec), np.array([labels.index(p.label) for p in held_out])
    matrix: Matrix = np.zeros((len(labels), len(labels)), np.int64)

    def measure(average: nn.Module) -> Row:
        nonlocal matrix
        matrix = confusion(test_y, predict(network, average, test_x), len(labels))
        return {"balanced_accuracy": balanced_accuracy(matrix)}

    def losses(one: nn.Module, samples: list[Sample], _done: float) -> Losses:
        return classifier_losses(network, one, samples, recipe.label_smoothing)

    module, history = fit(network, module, training, recipe, losses, measure)
    return module, history, matrix


def classifier_losses(network: Network, module: nn.Module, samples: list[Sample], smoothing: float) -> Losses:
    """What the label costs, and of a network that draws also the maps, and how badly they overlap (Dice)."""
    label = torch.tensor([s.label for s in samples])
    maps: Tensor | None = None
    with mixed_precision():
        x = batch_of(network, samples)
        if isinstance(module, Draws):
            logits, maps = module.draw(x)
        else:
            logits = module(x)
    label_loss = F.cross_entropy(logits.float(), label, label_smoothing=smoothing)
    if maps is None:
        return {"label_loss": label_loss}
    return {"label_loss": label_loss, **_map_losses(maps.float(), samples, label)}


def _map_losses(maps: Tensor, samples: list[Sample], label: Tensor) -> Losses:
    target = torch.from_numpy(np.stack([s.target for s in samples]))
    known = torch.tensor([float(s.has_target) for s in samples])
    weight = torch.tensor(4.0)  # few cells are defective
    per_cell = F.binary_cross_entropy_with_logits(maps, target, pos_weight=weight, reduction="none")
    map_loss = 5 * (per_cell.mean((1, 2, 3)) * known).mean()
    defective = torch.nonzero((label > 0) & (known > 0)).flatten()
    if len(defective) == 0:
        return {"map_loss": map_loss, "dice_loss": map_loss * 0}
    drawn = torch.sigmoid(maps)[defective, label[defective] - 1]
    real = target[defective, label[defective] - 1]
    overlap = (2 * (drawn * real).sum((1, 2)) + 1) / (drawn.sum((1, 2)) + real.sum((1, 2)) + 1)
    return {"map_loss": map_loss, "dice_loss": (1 - overlap).mean()}


def predict(network: Network, module: nn.Module, x: Tensor) -> npt.NDArray[np.int64]:
    """The best label of each picture; x (n, channels, height, width) uint8."""
    if len(x) == 0:
        return np.zeros(0, np.int64)
    with torch.no_grad():
        answers = [module(network.prepare(part.float() / 255)).argmax(1).numpy() for part in x.split(AT_ONCE)]
    return np.concatenate(answers)
