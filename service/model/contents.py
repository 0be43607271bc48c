"""What belongs into a bundle that is made from a model file of elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import sha256_of
from edge.conversion.original import Original
from edge.conversion.quiet import quiet
from edge.conversion.writer import add_file, golden_inputs, write_golden, write_manifest
from edge.frame import Image
from service.model.facts import ModelFile, ModelFileError, Scores, Told
from service.model.pictures import prepared, spread

GOLDEN = 6
_INT8 = "model.int8.onnx"
_HELD_BACK = 32
"""Pictures that INT8 is compared with FP32 on, and not calibrated with."""


def manifest_of(name: str, version: str, labels: tuple[str, ...], good: str, taken: Original) -> dict[str, Any]:
    """What model.json says before there are files."""
    turned = slice(None, None, -1) if taken.colour == "RGB" else slice(None)
    section = {
        "width": taken.width,
        "height": taken.height,
        "channels": taken.spec.channels,
        "colour": taken.spec.colour,
        "layout": "NHWC",
        "dtype": "uint8",
        "mean": list(taken.mean[turned]),
        "std": list(taken.std[turned]),
        "resize": taken.resize,
    }
    if taken.resize == "letterbox":
        section["fill"] = taken.fill
    return {
        "schema": "edgecls/bundle/1",
        "name": name,
        "version": version,
        "task": "classification",
        "labels": list(labels),
        "pass_label": good,
        "input": section,
        "files": [],
        "golden": {},
        "metrics": {},
    }


def provenance_of(source: Path, told: Told) -> dict[str, Any]:
    """Where it comes from."""
    found = {"file": source.name, "sha256": sha256_of(source), "origin": told.origin, "found": dict(told.how)}
    return {"import": found}


def fill(folder: Path, model: ModelFile, taken: Original, manifest: dict[str, Any], files: list[Path]) -> list[str]:
    """Write everything that belongs to the bundle into an empty folder; what may surprise.

    Args:
        folder: it goes there.
        model: the file of elsewhere.
        taken: what that one takes.
        manifest: of the bundle, so far; it is completed.
        files: pictures to calibrate with, and to take golden inputs from; may be empty.

    Raises:
        ModelFileError: the file or a picture cannot be used.
    """
    notes: list[str] = []
    spec = taken.spec
    held = files[::5][:_HELD_BACK] if len(files) >= 20 else []
    rest = [file for file in files if file not in set(held)]
    inputs = prepared(spread(files, GOLDEN), spec) if files else golden_inputs(spec)
    raw = model.scores(taken, inputs)
    softmax = not _are_scores(raw, model, len(manifest["labels"]))
    manifest["golden"] = write_golden(folder, inputs)
    target = model.convert(taken, folder, softmax=softmax)
    add_file(folder, manifest, model.precision, target.name, _softmax(raw) if softmax else raw)
    write_manifest(folder, manifest)
    manifest["provenance"]["import"]["softmax"] = "added" if softmax else "inside"
    if files and (target.suffix == ".xml" or model.precision != "fp32"):
        notes.append("no INT8 was made: that takes an ONNX file in FP32")
    elif files:
        compared = prepared(held or rest[:_HELD_BACK], spec)
        wanted = model.scores(taken, compared)
        _quantise(folder, taken, manifest, prepared(rest, spec), inputs)
        given = _int8_scores(folder, taken, compared, len(manifest["labels"]))
        manifest["metrics"]["import"] = {
            "int8 onnxruntime": _agreement(_softmax(wanted) if softmax else wanted, given, held_back=bool(held))
        }
    if len(set(raw.argmax(1).tolist())) == 1 and not files:
        notes.append("all golden inputs get the same label; with --images they would be pictures of yours")
    write_manifest(folder, manifest)
    return notes


def _are_scores(raw: Scores, model: ModelFile, labels: int) -> bool:
    """Whether they are softmax values already.

    Raises:
        ModelFileError: they are nothing of a classifier's, or of another number of labels.
    """
    if not np.isfinite(raw).all():
        raise ModelFileError("it gives scores that are no numbers (NaN): train or export it again")
    if raw.shape[1] < 2:
        raise ModelFileError("it gives one score, and a classifier here has two labels or more: train it with two")
    if raw.shape[1] != labels:
        raise ModelFileError(f"it gives {raw.shape[1]} scores, and there are {labels} labels: give all --labels")
    if model.several_at_once:
        raise ModelFileError("it ends in a Sigmoid, which gives each label a score of its own: train it with a softmax")
    return bool(raw.min() >= 0 and np.allclose(raw.sum(1), 1, atol=2e-3))


def _softmax(raw: Scores) -> Scores:
    exponentials = np.exp(raw - raw.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float32)


def _quantise(folder: Path, taken: Original, manifest: dict[str, Any], pictures: Image, inputs: Image) -> None:
    from edge.conversion.quantise import quantise  # noqa: PLC0415  # slow to load, and not always wanted

    try:
        with quiet():
            quantise(folder / manifest["files"][0]["path"], folder / _INT8, pictures[:, None], "minmax")
    except Exception as error:
        raise ModelFileError(
            f"INT8 cannot be made of it ({str(error).splitlines()[0]}): leave --images away"
        ) from error
    scores = _int8_scores(folder, taken, inputs, len(manifest["labels"]))
    add_file(folder, manifest, "int8", _INT8, scores)
    manifest["provenance"]["quantisation"] = {"method": "minmax", "pictures": len(pictures), "format": "QDQ"}


def _int8_scores(folder: Path, taken: Original, pictures: Image, labels: int) -> Scores:
    from edge.conversion.quantise import scores_of  # noqa: PLC0415  # as above

    given: Scores = scores_of(folder / _INT8, taken.spec, pictures, labels)
    return given


def _agreement(wanted: Scores, given: Scores, *, held_back: bool) -> dict[str, object]:
    return {
        "pictures": len(given),
        "not_calibrated_with": held_back,
        "same_label_as_the_original": round(float((wanted.argmax(1) == given.argmax(1)).mean()), 4),
        "largest_difference": round(float(np.abs(wanted - given).max()), 4),
        "mean_difference": round(float(np.abs(wanted - given).max(1).mean()), 4),
    }
