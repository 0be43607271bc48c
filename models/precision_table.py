"""`python -m models precision-table`: the best scores of each picture in PyTorch, ONNX, simplified and INT8."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime import InferenceSession

from edge.conversion.quantise import METHODS, quantise
from edge.frame import Image
from edge.preprocess import Preprocessor
from edge.sources.images import read_image
from models.checkpoint import Checkpoint, load_checkpoint
from models.dataset import Picture, read_dataset
from models.onnx_export import LARGEST_DIFFERENCE, simplified, to_onnx
from models.precision_chart import draw_precision
from models.tables import markdown, write_report
from models.zoo.deployed import Deployed, answers

Scores = npt.NDArray[np.float32]
BEST = 3
COLUMNS = ("PyTorch", "ONNX", "simplified", "INT8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `precision-table`."""
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder that `train` wrote")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    parser.add_argument("--show", type=int, default=12, help="pictures in table and chart (default: %(default)s)")
    parser.add_argument("--count", type=int, default=64, help="pictures to calibrate with (default: %(default)s)")
    parser.add_argument("--method", choices=sorted(METHODS), default="minmax")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write precision.md, precision.json, precision.png")


@dataclass(frozen=True, slots=True)
class Precision:
    """What every form says of every picture, (pictures, labels) each, in the order of `COLUMNS`."""

    pictures: Sequence[Picture]
    labels: tuple[str, ...]
    scores: dict[str, Scores]

    def difference(self, column: str) -> float:
        """The largest to PyTorch."""
        return float(np.abs(self.scores[column] - self.scores["PyTorch"]).max())

    def agrees(self, column: str) -> int:
        """On how many pictures the best label is that of PyTorch."""
        return int((self.scores[column].argmax(1) == self.scores["PyTorch"].argmax(1)).sum())

    def best(self, column: str, picture: int) -> list[tuple[str, float]]:
        """The best labels of one picture and their scores."""
        row = self.scores[column][picture]
        return [(self.labels[index], float(row[index])) for index in np.argsort(-row, kind="stable")[:BEST]]

    def shown(self, count: int) -> list[int]:
        """`count` of the pictures, taking the labels in turn."""
        by_label: dict[str, list[int]] = {}
        for number, picture in enumerate(self.pictures):
            by_label.setdefault(picture.label, []).append(number)
        rounds = max(len(numbers) for numbers in by_label.values())
        order = [numbers[turn] for turn in range(rounds) for numbers in by_label.values() if turn < len(numbers)]
        return sorted(order[:count])


def run(args: argparse.Namespace) -> None:
    """Score every picture of the split in every form, and print the table of some of them.

    Raises:
        ValueError: no checkpoint of a classifier, no pictures, or ONNX does not answer as PyTorch does.
        OSError: a folder cannot be written.
    """
    checkpoint = load_checkpoint(args.run)
    network = checkpoint.network
    if network.kind.task != "classification":
        raise ValueError(f"{args.run} holds a {network.name}: this table is of classifiers, give the run of one")
    dataset = read_dataset(args.data, network.labels[0])
    pictures = dataset.split(args.split)
    unknown = sorted({picture.label for picture in dataset.pictures} - set(network.labels))
    if unknown or not pictures:
        raise ValueError(
            f"{args.data}, split {args.split}: {len(pictures)} pictures, labels that the model does not know: "
            f"{', '.join(unknown) or 'none'}; the model knows {', '.join(network.labels)}"
        )
    training = dataset.split("train") or pictures
    found = score_all(checkpoint, pictures, training[:: max(1, len(training) // args.count)], args.method)
    for column in ("ONNX", "simplified"):
        if not found.difference(column) <= LARGEST_DIFFERENCE["scores"]:
            raise ValueError(
                f"{column} differs from PyTorch by {found.difference(column):.2g}: it is not the same model"
            )
    text = report(found, found.shown(args.show))
    print(text)
    if args.out:
        title = f"{network.name}, {len(pictures)} pictures of {args.data.name}, split {args.split}"
        write_report(args.out, "precision", f"# {title}\n\n{text}", document(found, title))
        draw_precision(found, found.shown(args.show), args.out / "precision.png", title)


def score_all(
    checkpoint: Checkpoint, pictures: Sequence[Picture], calibration: Sequence[Picture], method: str
) -> Precision:
    """Make every form of the network of a checkpoint, and run it over the pictures."""
    network, module = checkpoint.network, checkpoint.module
    images = np.concatenate(list(_prepared(pictures, checkpoint)))
    with torch.no_grad():
        original = [answers(network, module, torch.from_numpy(image[None])).numpy() for image in images]
    scores: dict[str, Scores] = {"PyTorch": np.concatenate(original)}
    with tempfile.TemporaryDirectory() as folder:
        plain, simple, int8 = (Path(folder) / f"{name}.onnx" for name in ("plain", "simplified", "int8"))
        exported = to_onnx(Deployed(network, module), torch.from_numpy(images[:1]))
        onnx.save(exported, plain)
        onnx.save(simplified(exported), simple)
        quantise(simple, int8, _prepared(calibration, checkpoint), method)
        for column, file in zip(COLUMNS[1:], (plain, simple, int8), strict=True):
            session = InferenceSession(str(file), providers=["CPUExecutionProvider"])
            scores[column] = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    return Precision(pictures, network.labels, scores)


def report(found: Precision, shown: Sequence[int]) -> str:
    """The table of some pictures, and a sentence on all of them."""
    rows = []
    for number in shown:
        picture = found.pictures[number]
        cells = [", ".join(f"{label} {score:.4f}" for label, score in found.best(column, number)) for column in COLUMNS]
        rows.append([picture.image.name, picture.label, *cells])
    total = len(found.pictures)
    sentences = [
        f"{column} differs from PyTorch by {found.difference(column):.2g} at most, and gives the same label to "
        f"{found.agrees(column)} of {total} pictures."
        for column in COLUMNS[1:]
    ]
    return f"{markdown(('picture', 'truth', *COLUMNS), rows)}\n\n" + "\n".join(sentences)


def document(found: Precision, title: str) -> dict[str, object]:
    """All figures, for programs."""
    return {
        "title": title,
        "labels": list(found.labels),
        "largest_difference": {column: found.difference(column) for column in COLUMNS[1:]},
        "same_label": {column: found.agrees(column) for column in COLUMNS[1:]},
        "pictures": [
            {
                "picture": picture.image.name,
                "truth": picture.label,
                "best": {column: found.best(column, number) for column in COLUMNS},
            }
            for number, picture in enumerate(found.pictures)
        ],
    }


def _prepared(pictures: Sequence[Picture], checkpoint: Checkpoint) -> Iterator[Image]:
    """Pictures through the very preprocessing of the daemon, (1, height, width, channels) each."""
    room: Image = np.empty(checkpoint.network.spec.shape, np.uint8)
    preprocess = Preprocessor(checkpoint.network.spec, room)
    for picture in pictures:
        preprocess(read_image(picture.image))
        yield room.copy()
