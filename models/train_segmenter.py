"""`python -m models train-segmenter`: a U-Net that says of every pixel what it shows, from pictures with masks."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge.frame import Image
from models.augment import Sample
from models.checkpoint import Checkpoint, save_checkpoint
from models.dataset import Picture, read_dataset, refuse_lone_pictures, truth_mask
from models.mask_metrics import PixelCounts
from models.picture import draw_curves
from models.train import add_recipe_arguments, add_shape_arguments, asked_network, asked_recipe
from models.training import Losses, Recipe, Row, batch_of, fit, mixed_precision, tensor_of
from models.zoo import Network

NETWORK = "unet-segmenter"
RARE = 0.7
"""Pixels of a label that covers a share s of its pictures count 1 / s**RARE times as much as good ones."""
EXACT = 0.4
"""At the end of a training the weights of the labels are those at its beginning to this power: first a network has to
find what is rare, then to draw no more of it than there is."""
SMALLEST = 1e-4
"""The smallest share that is taken for true: a pixel of a still smaller defect counts no more."""
RECIPE = Recipe(epochs=60, samples=320, batch=8, learning_rate=3e-3, pass_share=0.3)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `train-segmenter`."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures with masks"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for checkpoint, curves, metrics")
    parser.add_argument("--pass-label", help="the label that means good (default: ok, good or free)")
    parser.add_argument("--size", type=int, default=224, help="input in pixels (default: %(default)s)")
    parser.add_argument("--colour", choices=("GRAY", "BGR"), default="GRAY")
    add_shape_arguments(parser)
    parser.add_argument("--stride", type=int, choices=(1, 2), help="1: draw at full size, for four times the work")
    add_recipe_arguments(parser, RECIPE)


def run(args: argparse.Namespace) -> None:
    """Train on the split `train`, and write `checkpoint.pt`, `curves.png` and `metrics.json` into the run's folder.

    Raises:
        ValueError: the folder is no data set, its defects have no masks, or a setting makes no sense.
        OSError: the run's folder cannot be written.
    """
    asked_network(args, NETWORK, ("ok", "defect"))  # what makes no sense is said before pictures are read
    dataset = read_dataset(args.data, args.pass_label)
    refuse_lone_pictures(dataset)
    network, recipe = asked_network(args, NETWORK, dataset.labels), asked_recipe(args, RECIPE)
    training, held_out = dataset.split("train"), dataset.split("val")
    bare = sorted({p.label for p in training if p.label != dataset.labels[0]} - {p.label for p in training if p.mask})
    if bare:
        raise ValueError(f"{args.data} has no masks of {', '.join(bare)}: draw some, or remove these pictures")
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    module, history = train(network, training, held_out, recipe)
    data = {"folder": args.data.name, "training": len(training), "held_out": len(held_out)}
    save_checkpoint(args.out, Checkpoint(network, module, asdict(recipe), data))
    draw_curves(history, args.out / "curves.png", args.out.name)
    metrics = {"network": network.as_json(), "labels": network.labels, "history": history}
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"mean IoU of the defects {history[-1]['mean_iou']:.3f} on {len(held_out)} pictures held out; see {args.out}")


def train(
    network: Network, training: list[Picture], held_out: list[Picture], recipe: Recipe
) -> tuple[nn.Module, list[Row]]:
    """Train a segmenter on one list of pictures and measure on the other, which has no influence on the training.

    Returns:
        The network in evaluation mode, and a row for each epoch.
    """
    torch.manual_seed(recipe.seed)
    pictures = tensor_of(held_out, network.spec)
    truths = [truth_mask(picture, network.spec, network.labels) for picture in held_out]
    weights = label_weights(network, training)
    return fit(
        network,
        network.make(),
        training,
        recipe,
        lambda module, samples, done: segmenter_losses(network, module, samples, weights ** (1 - done * (1 - EXACT))),
        lambda average: {"mean_iou": count_pixels(network, average, pictures, truths).mean_iou},
    )


def label_weights(network: Network, training: list[Picture]) -> Tensor:
    """(labels,) float32: how much a pixel of each label counts, 1 for good ones.

    A hole covers a thousandth of its picture: with equal pixels a network learns that nothing is ever wrong.
    """
    shares: dict[int, list[float]] = {}
    for picture in training:
        if picture.mask is not None and picture.label != network.labels[0]:
            number = network.labels.index(picture.label)
            shares.setdefault(number, []).append(float((truth_mask(picture, network.spec, network.labels) > 0).mean()))
    weights = torch.ones(len(network.labels))
    for number, seen in shares.items():
        weights[number] = max(float(np.mean(seen)), SMALLEST) ** -RARE
    return weights


def segmenter_losses(network: Network, module: nn.Module, samples: list[Sample], weights: Tensor) -> Losses:
    """Cross-entropy of the pixels, and how badly what is drawn overlaps with what is there (Dice), label by label.

    The overlap is that of all samples together: what is drawn onto good pictures counts against it.

    Args:
        network: what the module is.
        module: in training mode.
        samples: those without a mask, though they show a defect, are left out.
        weights: (labels,), see `label_weights`.
    """
    samples = [sample for sample in samples if sample.has_target] or samples
    truth = torch.from_numpy(np.stack([s.classes for s in samples])).long()
    with mixed_precision():
        logits = module(batch_of(network, samples))
    logits = logits.float()
    pixel_loss = (F.cross_entropy(logits, truth, reduction="none") * weights[truth]).mean()
    drawn = logits.softmax(1)[:, 1:]
    real = F.one_hot(truth, len(network.labels)).permute(0, 3, 1, 2)[:, 1:].float()
    there = real.sum((0, 2, 3))
    missed = (1 - 2 * (drawn * real).sum((0, 2, 3)) / (drawn.sum((0, 2, 3)) + there + 1))[there > 0]
    return {"pixel_loss": pixel_loss, "dice_loss": missed.mean() if len(missed) else pixel_loss * 0}


def count_pixels(network: Network, module: nn.Module, pictures: Tensor, truths: list[Image]) -> PixelCounts:
    """What a network in PyTorch draws, held against what people drew.

    Args:
        network: what the module is.
        module: in evaluation mode.
        pictures: (n, channels, height, width) uint8.
        truths: (height, width) uint8 each, the number of the label of each pixel.
    """
    counts = PixelCounts(len(network.labels))
    with torch.no_grad():
        for number, picture in enumerate(pictures.split(1)):
            answer: npt.NDArray[np.int64] = module(network.prepare(picture.float() / 255))[0].argmax(0).numpy()
            counts.add(truths[number], answer.astype(np.uint8))
    return counts
