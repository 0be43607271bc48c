"""What a model of a bundle is worth on one engine: how large it is, how often it is right, how long it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from tqdm import tqdm

from edge.backends import BACKENDS, BackendName, EngineSettings
from edge.bundle import Bundle, Precision
from edge.engine import Engine, Slot
from edge.errors import BackendError, BundleError
from edge.preprocess import Preprocessor
from edge.sources.images import read_image
from models.dataset import Picture, truth_of
from models.evaluate_masks import measure as measure_masks
from models.metrics import Matrix, Scores, accuracy, balanced_accuracy, calibration_error, confusion, log_loss

ROUNDS = 15
LEAST_S = 0.1
"""Each engine has its turn for so long, so many times, one after the other: what else the machine does meets all."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One model of one bundle on one engine.

    Attributes:
        bundle: the bundle.
        precision: which of its models.
        backend: which engine.
        slot: a place at it.
        label: how it is told apart from others of the same table.
    """

    bundle: Bundle
    precision: Precision
    backend: BackendName
    slot: Slot
    label: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.label or self.bundle.path.name} {self.precision} {self.backend}"

    @property
    def file(self) -> Path:
        """Its model file."""
        return self.bundle.file(self.precision, self.backend)


def subject(bundle: Bundle, precision: Precision, backend: BackendName, label: str = "") -> Subject:
    """A model loaded into an engine and held against its golden scores.

    Raises:
        BackendError, BundleError: the engine is not there, refuses the model, or gives other scores.
    """
    engine = Engine(bundle, EngineSettings(backend=backend, device="cpu", precision=precision))
    return Subject(bundle, precision, backend, engine.slot(), label)


def subjects_of(
    bundle: Bundle, precisions: Sequence[Precision] | None = None, label: str = ""
) -> tuple[list[Subject], list[str]]:
    """The models of a bundle on every engine that they are for.

    Args:
        bundle: whose.
        precisions: which of its models; None: all, FP32 first.
        label: see `Subject`.

    Returns:
        What runs, and a sentence for each that does not.
    """
    found: list[Subject] = []
    problems: list[str] = []
    for precision in precisions or sorted(bundle.precisions, key=lambda one: one != "fp32"):
        for backend in BACKENDS:
            if precision not in bundle.precisions_for(backend):
                continue
            try:
                found.append(subject(bundle, precision, backend, label))
            except (BackendError, BundleError) as error:
                problems.append(str(error))
    return found, problems


def scores_on(one: Subject, pictures: Sequence[Picture]) -> Scores:
    """(pictures, labels): what it says of each picture, after the daemon's own preprocessing.

    Raises:
        BadFrameError: a picture cannot be read.
    """
    preprocess = Preprocessor(one.bundle.manifest.input.spec, one.slot.input)
    rows = np.empty((len(pictures), len(one.bundle.labels)), np.float32)
    for row, picture in zip(rows, tqdm(pictures, one.name, unit="picture", leave=False, disable=None), strict=True):
        preprocess(read_image(picture.image))
        one.slot.infer()
        row[:] = one.slot.scores[0]
    return rows


def measure(bundle: Bundle, pictures: Sequence[Picture], backend: BackendName, precision: Precision) -> Matrix:
    """The confusion matrix of a classifier on one engine."""
    answers = scores_on(subject(bundle, precision, backend), pictures).argmax(1)
    return confusion(truth_of(pictures, bundle.labels), answers, len(bundle.labels))


def figures_of(one: Subject, pictures: Sequence[Picture]) -> dict[str, Any]:
    """How good it is: of a classifier as `figures_of_scores`, of a segmenter as `evaluate_masks.measure`."""
    if one.bundle.manifest.task == "segmentation":
        return measure_masks(one.bundle, list(pictures), one.backend, one.precision)
    return figures_of_scores(scores_on(one, pictures), truth_of(pictures, one.bundle.labels))


def figures_of_scores(scores: Scores, truth: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Of a classifier: how often it is right, and whether its scores mean what they say."""
    matrix = confusion(truth, scores.argmax(1), scores.shape[1])
    return {
        "pictures": len(scores),
        "accuracy": round(accuracy(matrix), 4),
        "balanced_accuracy": round(balanced_accuracy(matrix), 4),
        "calibration_error": round(calibration_error(scores, truth), 4),
        "log_loss": round(log_loss(scores, truth), 4),
        "confusion": matrix.tolist(),
    }


def quality(figures: dict[str, Any]) -> float:
    """The one number that a smaller model is held to: balanced accuracy, or of a segmenter the mean IoU."""
    return float(figures.get("balanced_accuracy", figures.get("mean_iou", 0.0)))


def latencies_ms(subjects: Sequence[Subject], picture: Path | None = None) -> list[float]:
    """The median time of one inference of each, in ms, measured in turns on the same input.

    Args:
        subjects: which.
        picture: what they look at; None: the first golden input.
    """
    for one in subjects:
        if picture is None or one.bundle.manifest.input.resize == "tile":
            one.slot.input[...] = one.bundle.golden_inputs[0]
        else:
            Preprocessor(one.bundle.manifest.input.spec, one.slot.input)(read_image(picture))
        one.slot.infer()
    rounds: list[list[float]] = [[] for _ in subjects]
    for _ in tqdm(range(ROUNDS), "speed", unit="round", leave=False, disable=None):
        for one, times in zip(subjects, rounds, strict=True):
            one.slot.infer()  # the caches are another's
            took: list[float] = []
            begin = perf_counter()
            while perf_counter() - begin < LEAST_S or len(took) < 3:
                start = perf_counter()
                one.slot.infer()
                took.append((perf_counter() - start) * 1e3)
            times.append(median(took))
    return [round(median(times), 3) for times in rounds]


def bytes_of(one: Subject) -> int:
    """The size of its model file, with its weights."""
    weights = one.file.with_suffix(".bin")
    return one.file.stat().st_size + (weights.stat().st_size if one.file.suffix == ".xml" else 0)


def sparsity_of(model: Path) -> float | None:
    """The share of its weights that are zero, of those of convolutions and matrices; None: not an ONNX file."""
    if model.suffix != ".onnx":
        return None
    arrays = [numpy_helper.to_array(weight) for weight in onnx.load(model).graph.initializer]
    weights = [array for array in arrays if array.ndim >= 2 and array.dtype != np.int64]
    total = sum(array.size for array in weights)
    return round(sum(int((array == 0).sum()) for array in weights) / total, 4) if total else 0.0
