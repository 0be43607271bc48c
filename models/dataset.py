"""A folder of labelled pictures: which there are, what they show, and which side of the split they are on.

    DIR/images/LABEL/NAME.jpg   or   DIR/LABEL/NAME.jpg
    DIR/masks/LABEL/NAME.png    where the defect is (white); may be missing
    DIR/index.csv               image,label,tile,fold,split; may be missing

`tile` names the object in the picture: pictures of one object never part at a split. Without index.csv every picture
counts as an object of its own and falls into one of five folds by a hash of its name, fold 0 being `val`.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
FOLDS = 5


class DatasetError(ValueError):
    """The folder is no data set. The message names the remedy."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture."""

    image: Path
    mask: Path | None
    label: str
    tile: str
    fold: int
    split: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """All pictures of a folder, in the order of their names, and their labels, the pass label first."""

    path: Path
    pictures: tuple[Picture, ...]
    labels: tuple[str, ...]

    def split(self, name: str) -> list[Picture]:
        """The pictures of `train`, `val` or `all`."""
        return [p for p in self.pictures if name in (p.split, "all")]

    def fold(self, number: int) -> tuple[list[Picture], list[Picture]]:
        """(training, held out) when fold `number` is held out."""
        return (
            [p for p in self.pictures if p.fold != number],
            [p for p in self.pictures if p.fold == number],
        )


def read_dataset(path: Path, pass_label: str | None = None) -> Dataset:
    """Read a folder. The pass label is the one given, else `ok`, `good` or `free`, whichever is there.

    Raises:
        DatasetError: there is no such folder, nothing in it, fewer than two labels, or an index that does not fit.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder: give one that holds images/LABEL/*.jpg")
    pictures = _from_index(path) if (path / "index.csv").is_file() else _from_folders(path)
    names = sorted({p.label for p in pictures})
    if len(names) < 2:
        raise DatasetError(
            f"{path} has pictures of {len(names)} labels: it takes two or more, each in a folder of its own"
        )
    chosen = pass_label or next((name for name in ("ok", "good", "free") if name in names), None)
    if chosen not in names:
        raise DatasetError(f"{path} has the labels {', '.join(names)}: name the good one with --pass-label")
    return Dataset(path, tuple(pictures), (chosen, *(name for name in names if name != chosen)))


def refuse_lone_pictures(dataset: Dataset) -> None:
    """Whether there is enough of every label to learn it and to measure how well.

    Raises:
        DatasetError: there is one picture of a label.
    """
    counts = Counter(picture.label for picture in dataset.pictures)
    alone = [label for label, count in counts.items() if count < 2]
    if alone:
        raise DatasetError(
            f"{dataset.path} has a single picture of {', '.join(alone)}: a label takes two or more, one to "
            "learn from and one to be measured on"
        )


def known_pictures(path: Path, split: str, labels: tuple[str, ...], pass_label: str) -> list[Picture]:
    """The pictures of a split, for a model that knows these labels.

    Raises:
        DatasetError: the folder is no data set, the split is empty, or the model does not know a label.
    """
    pictures = read_dataset(path, pass_label).split(split)
    unknown = sorted({p.label for p in pictures} - set(labels))
    if unknown or not pictures:
        raise DatasetError(
            f"{path}, split {split}: {len(pictures)} pictures, labels that the model does not know: "
            f"{', '.join(unknown) or 'none'}; the model knows {', '.join(labels)}"
        )
    return pictures


def truth_of(pictures: Sequence[Picture], labels: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """(n,): the number of the label of each picture."""
    return np.array([labels.index(picture.label) for picture in pictures], np.int64)


def truth_mask(picture: Picture, spec: InputSpec, labels: tuple[str, ...]) -> Image:
    """(height, width) uint8, the number of the label that each pixel of the model's input shows."""
    classes: Image = np.zeros((spec.height, spec.width), np.uint8)
    if picture.mask is not None:
        mask_spec = InputSpec(spec.width, spec.height, "GRAY", spec.resize)
        mask: Image = np.zeros(mask_spec.shape, np.uint8)
        preprocess = Preprocessor(mask_spec, mask)
        preprocess(read_image(picture.mask))
        top, left, height, width = preprocess.shown.input  # beside a letterboxed picture there is nothing
        classes[top : top + height, left : left + width][preprocess.area[..., 0] > 127] = labels.index(picture.label)
    return classes


def _from_index(path: Path) -> list[Picture]:
    pictures = []
    with (path / "index.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                image = path / row["image"]
                picture = Picture(image, _mask(path, image), row["label"], row["tile"], int(row["fold"]), row["split"])
            except (KeyError, TypeError, ValueError) as error:
                raise DatasetError(
                    f"{path / 'index.csv'}:{number}: not a row of image,label,tile,fold,split ({error}): correct it"
                ) from error
            if not image.is_file():
                raise DatasetError(
                    f"{path / 'index.csv'}:{number}: {image} does not exist: restore it or remove the row"
                )
            pictures.append(picture)
    return pictures


def _from_folders(path: Path) -> list[Picture]:
    root = path / "images" if (path / "images").is_dir() else path
    pictures = []
    for image in sorted(root.glob("*/*")):
        if image.suffix.lower() not in SUFFIXES:
            continue
        name = image.relative_to(root).as_posix()
        fold = hashlib.sha256(name.encode()).digest()[0] % FOLDS
        split = "train" if fold else "val"
        pictures.append(Picture(image, _mask(path, image), image.parent.name, name, fold, split))
    return pictures


def _mask(path: Path, image: Path) -> Path | None:
    mask = path / "masks" / image.parent.name / f"{image.stem}.png"
    return mask if mask.is_file() else None
