"""A smaller form of a bundle's FP32 model, made and entered into the bundle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edge.backends import Plan, as_scores
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.openvino import OpenVinoBackend
from edge.bundle import Bundle, Precision, load_bundle
from edge.conversion.quantise import METHODS, quantise
from edge.conversion.quiet import quiet
from edge.errors import BackendError, BadFrameError, BundleError
from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from edge.tiles import TilePreprocessor
from models.bundle_writer import add_file, read_manifest, write_manifest
from models.dataset import Picture, truth_mask, truth_of
from models.forms import dynamic_int8, half
from models.mask_metrics import PixelCounts
from models.measure import subject
from models.metrics import balanced_accuracy, confusion

FILE = "model.int8.onnx"
OPENVINO_FILE = "model.int8.xml"
HALF_FILE = "model.fp16.onnx"
LARGEST_LOSS = 0.01
SMALLEST = 4
"""A picture to calibrate with has at least this part of the model's sides: enlarged further it shows other ranges."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to make it with.

    Attributes:
        calibration: pictures to find the ranges with; `count` of them are taken, evenly over the labels.
        held_to: pictures that the loss is measured on.
        largest_loss: of quality, with NNCF.
        count: how many to calibrate with.
        seed: of the choice.
    """

    calibration: Sequence[Picture]
    held_to: Sequence[Picture]
    largest_loss: float = LARGEST_LOSS
    count: int = 256
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Made:
    """What was made.

    Attributes:
        precision: of the file.
        file: its name.
        kept: with NNCF, what had to stay in floating point.
        notes: for people.
    """

    precision: Precision
    file: str
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def add_smaller(folder: Path, way: str, wish: Wish) -> Made:
    """Make a smaller form and enter it into the bundle in a folder, which is the caller's to throw away on an error.

    Args:
        folder: of the bundle.
        way: `minmax`, `entropy`, `percentile` (static INT8), `dynamic`, `nncf` or `fp16`.
        wish: what to make it with.

    Raises:
        ValueError: there is nothing to make it with, or it cannot be made.
        BadFrameError: a picture cannot be read.
        BackendError, BundleError: no engine runs what came out.
    """
    bundle = load_bundle(folder)
    fp32 = bundle.file("fp32", "onnxruntime")
    if way == "fp16":
        half(fp32, folder / HALF_FILE)
        return _enter(bundle, Made("fp16", HALF_FILE), {"fp16": {"around_in_fp32": True}})
    if way == "dynamic":
        dynamic_int8(fp32, folder / FILE)
        return _enter(bundle, Made("int8", FILE), {"quantisation": {"method": way, "format": "dynamic"}})
    chosen = spread(wish.calibration, wish.count, wish.seed)
    pictures = list(prepared(chosen, bundle.manifest.input.spec))
    told = {"method": way, "pictures": len(chosen)}
    if way in METHODS:
        # A skip that is joined in INT8 need not become floating point on its way.
        also = ["Concat"] if _joins_maps(fp32) else []
        with quiet():
            quantise(fp32, folder / FILE, pictures, way, also)
        note = f"{FILE}: calibrated with {len(chosen)} pictures ({way})"
        return _enter(bundle, Made("int8", FILE, notes=(note,)), {"quantisation": {**told, "format": "QDQ"}})
    return _with_accuracy_control(bundle, fp32, pictures, wish, told)


def _with_accuracy_control(bundle: Bundle, fp32: Path, pictures: list[Image], wish: Wish, told: dict[str, Any]) -> Made:
    from models.accuracy_control import quantise_within, save  # noqa: PLC0415  # NNCF takes seconds to load

    if not wish.held_to:
        raise ValueError("accuracy control takes labelled pictures to hold the model to: give a split that has some")
    truths: Sequence[Any]
    if bundle.manifest.task == "segmentation":
        truths = [truth_mask(one, bundle.manifest.input.spec, bundle.labels) for one in wish.held_to]
        judge = _judge_of_masks(len(bundle.labels))
    else:
        truths = truth_of(wish.held_to, bundle.labels).tolist()
        judge = _judge_of_labels(len(bundle.labels))
    shown = prepared(wish.held_to, bundle.manifest.input.spec)
    items = list(zip(shown, truths, strict=True))
    with quiet():
        controlled = quantise_within(fp32, pictures, items, judge, wish.largest_loss)
    save(controlled, bundle.path / OPENVINO_FILE)
    kept = controlled.kept
    notes = (
        f"{OPENVINO_FILE}: {controlled.in_int8} of {controlled.layers} layers in INT8; "
        f"to lose no more than {wish.largest_loss:g} on {len(items)} pictures, "
        + (f"these {len(kept)} layers had to stay in floating point: {', '.join(kept)}" if kept else "none had to stay")
        + ("" if kept else " in floating point"),
    )
    about = {**told, "format": "OpenVINO", "largest_loss": wish.largest_loss, "in_floating_point": list(kept)}
    return _enter(bundle, Made("int8", OPENVINO_FILE, kept, notes), {"quantisation_openvino": about})


def _judge_of_labels(labels: int) -> Callable[..., tuple[float, list[float]]]:
    def judge(truths: Sequence[int], answers: Sequence[npt.NDArray[Any]]) -> tuple[float, list[float]]:
        best = [int(scores.argmax()) for scores in answers]
        right = [float(truth == answer) for truth, answer in zip(truths, best, strict=True)]
        return balanced_accuracy(confusion(truths, best, labels)), right

    return judge


def _judge_of_masks(labels: int) -> Callable[..., tuple[float, list[float]]]:
    def judge(truths: Sequence[Image], answers: Sequence[npt.NDArray[Any]]) -> tuple[float, list[float]]:
        counts, right = PixelCounts(labels), []
        for truth, mask in zip(truths, answers, strict=True):
            counts.add(truth, mask[0])
            right.append(float((truth == mask[0]).mean()))
        return counts.mean_iou, right

    return judge


def _enter(bundle: Bundle, made: Made, provenance: dict[str, Any]) -> Made:
    """Into model.json, with golden scores; for ONNX Runtime alone where OpenVINO cannot run it."""
    folder, manifest = bundle.path, read_manifest(bundle.path)
    of_openvino = made.file.endswith(".xml")
    scores = golden_scores(folder / made.file, bundle)
    add_file(folder, manifest, made.precision, made.file, scores, backend="openvino" if of_openvino else None)
    manifest["provenance"].update(provenance)
    for split, results in manifest["metrics"].items():
        if isinstance(results, dict):  # figures of the one that was there before
            kept = {engine: of for engine, of in results.items() if not engine.startswith(f"{made.precision} ")}
            manifest["metrics"][split] = kept
    write_manifest(folder, manifest)
    if of_openvino:
        subject(load_bundle(folder), made.precision, "openvino")
        return made
    subject(load_bundle(folder), made.precision, "onnxruntime")
    try:
        subject(load_bundle(folder), made.precision, "openvino")
    except (BackendError, BundleError) as error:
        add_file(folder, manifest, made.precision, made.file, scores, backend="onnxruntime")
        write_manifest(folder, manifest)
        return Made(made.precision, made.file, made.kept, (*made.notes, f"for ONNX Runtime alone: {error}"))
    return made


def difference_to_fp32(path: Path) -> float:
    """The largest difference that quantising made to a score of a golden input of a bundle."""
    scores = load_bundle(path).manifest.golden.scores
    return float(np.abs(np.array(scores["int8"]) - np.array(scores["fp32"])).max())


def golden_scores(model: Path, bundle: Bundle) -> npt.NDArray[np.float32]:
    """What the backend that a file is for answers to the golden inputs: ONNX Runtime's, of an .xml OpenVINO's."""
    spec = bundle.manifest.input.spec
    picture: Image = np.empty(spec.shape, np.uint8)
    outputs = bundle.make_outputs()
    if model.suffix == ".xml":
        run = OpenVinoBackend(model, spec, Plan("openvino", "cpu", "int8"), None).bind(picture, *outputs)
    else:
        run = OnnxRuntimeBackend(model, spec, Plan("onnxruntime", "cpu", "int8"), None).bind(picture, *outputs)
    rows = []
    for image in bundle.golden_inputs:
        picture[0] = image
        run()
        rows.append(as_scores(bundle, outputs)[0].copy())
    return np.stack(rows)


def prepared(pictures: Sequence[Picture], spec: InputSpec) -> Iterator[Image]:
    """Pictures through the very preprocessing of the daemon, (1, height, width, channels) each; tiles one by one.

    Raises:
        BadFrameError: one cannot be read.
        ValueError: one is much smaller than what the model looks at.
    """
    room: Image = np.empty(spec.shape, np.uint8)

    def make_room(tiles: int) -> Image:
        nonlocal room
        room = np.empty((tiles, *spec.shape[1:]), np.uint8)
        return room

    preprocess = TilePreprocessor(spec, make_room) if spec.resize == "tile" else Preprocessor(spec, room)
    for picture in pictures:
        try:
            image = read_image(picture.image)
        except BadFrameError as error:
            raise ValueError(f"{error}: remove it or take it again") from error
        height, width = image.shape[:2]
        if height * SMALLEST < spec.height or width * SMALLEST < spec.width:
            raise ValueError(
                f"{picture.image} is {width}x{height}, and the model looks at {spec.width}x{spec.height}: "
                "give pictures of the camera"
            )
        preprocess(image)
        yield from (one[None].copy() for one in room)


def spread(pictures: Sequence[Picture], count: int, seed: int) -> list[Picture]:
    """`count` pictures, as evenly over the labels as there are pictures of each."""
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[Picture]] = {}
    for index in rng.permutation(len(pictures)):
        by_label.setdefault(pictures[index].label, []).append(pictures[index])
    chosen: list[Picture] = []
    while len(chosen) < min(count, len(pictures)):
        chosen += [rest.pop() for rest in by_label.values() if rest]
    return chosen[:count]


def _joins_maps(model: Path) -> bool:
    """Whether a convolution looks at several maps that were put together, as behind the skips of a U-Net."""
    nodes = onnx.load(model, load_external_data=False).graph.node
    joined = {output for node in nodes if node.op_type == "Concat" for output in node.output}
    return any(node.op_type == "Conv" and node.input[0] in joined for node in nodes)
