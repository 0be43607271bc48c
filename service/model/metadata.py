"""What exporters write beside a model: whose file it is, and what can be read of it.

Facts, as the exporters' own code has them (September 2026): Ultralytics writes `names`, `imgsz`, `task` and others as
Python literals, and its classifiers take RGB from 0 to 1, the shorter side resized and the middle cut out. Model API
reads `model_info`: means and deviations of values 0 to 255, labels with `_` for blanks, `reverse_input_channels` when
the model does not take the order of what it is given, which for Geti is RGB and otherwise BGR. torchvision and timm
write nothing, but torch's exporter leaves the names of their classes in the nodes.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import replace

from edge.preprocess import Colour, Resize
from service.model.facts import Facts, ModelFileError, Told

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODEL_INFO = "model_info "
_RESIZE: dict[str, Resize] = {
    "standard": "stretch",
    "crop": "crop",
    "fit_to_window": "letterbox",
    "fit_to_window_letterbox": "letterbox",
}


def read_metadata(facts: Facts) -> Told:
    """What the file's own metadata tells.

    Raises:
        ModelFileError: it is not the file of a classifier with one label for each picture, or is damaged.
    """
    metadata = facts.metadata
    info = {key.removeprefix(MODEL_INFO): value for key, value in metadata.items() if key.startswith(MODEL_INFO)}
    if metadata.get("author") == "Ultralytics" or {"task", "names", "imgsz"} <= set(metadata):
        return _ultralytics(metadata)
    if info:
        return _model_api(info, facts)
    told = Told()
    if "names" in metadata:  # YOLOv5 writes no more than this
        told = told.then("names in its metadata", labels=_names(metadata["names"]))
    if "torchvision.models." in facts.written_by:
        told = replace(told, origin="torchvision").then(
            "torchvision, all of whose classifiers take it", mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="crop"
        )
    elif "timm.models." in facts.written_by:
        told = replace(told, origin="timm").then("timm", resize="crop")
    return told


def _ultralytics(metadata: Mapping[str, str]) -> Told:
    task = metadata.get("task", "classify")
    if task != "classify":
        raise ModelFileError(
            f"it is an Ultralytics model with task={task}, and only task=classify gives one label for a picture: "
            "train and export a -cls model"
        )
    size = _literal(metadata, "imgsz")
    sides = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ModelFileError(f"its imgsz is {metadata.get('imgsz')}, which is no height and width: export it again")
    height, width = sides
    return Told(origin="Ultralytics").then(
        "Ultralytics",
        labels=_names(metadata.get("names", "")),
        size=(width, height),
        colour="GRAY" if metadata.get("channels") == "1" else "RGB",
        mean=(0.0,),
        std=(1.0,),
        resize="crop" if width == height else "stretch",
    )


def _names(text: str) -> tuple[str, ...]:
    """`{0: 'ok', 1: 'crack'}` or `['ok', 'crack']`."""
    found = _literal({"names": text}, "names")
    if isinstance(found, dict) and sorted(found) == list(range(len(found))):
        found = [found[number] for number in range(len(found))]
    if not isinstance(found, (list, tuple)) or not found:
        raise ModelFileError(f"its names are {text[:60]}, which are no labels numbered from 0: give them with --labels")
    return tuple(str(name) for name in found)


def _literal(metadata: Mapping[str, str], key: str) -> object:
    try:
        return ast.literal_eval(metadata.get(key, ""))
    except (ValueError, SyntaxError) as error:
        raise ModelFileError(
            f"its {key} is {metadata.get(key, 'missing')[:60]}, which cannot be read: export it again"
        ) from error


def _model_api(info: Mapping[str, str], facts: Facts) -> Told:
    geti = "label_info" in info or "task_type" in info
    kind, task = info.get("model_type", "Classification"), info.get("task_type", "classification")
    yolo = kind.lower() == "yolo"  # Ultralytics' own OpenVINO files, whatever their task
    if (kind.lower() not in ("classification", "label") and not yolo) or "classification" not in task.lower():
        raise ModelFileError(
            f"it is a Model API model of the type {kind} ({task}): only Classification gives one label for a picture"
        )
    for several in ("multilabel", "hierarchical"):
        if _yes(info.get(several)):
            raise ModelFileError(f"it is {several}: edgecls takes models that give each picture one label of a list")
    inside = _yes(info.get("embedded_processing")) or facts.dtype == "uint8"
    scale = _to_one(info)
    mean = tuple(value * scale for value in _numbers(info, "mean_values", (0.0,)))
    std = tuple(value * scale for value in _numbers(info, "scale_values", (1.0,)))
    resize = "crop" if yolo and "resize_type" not in info else _RESIZE.get(info.get("resize_type", "standard"))
    if resize is None:
        raise ModelFileError(f"its resize_type is {info['resize_type']}, unknown to Model API: export it again")
    told = Told(origin="Geti" if geti else "Ultralytics" if yolo else "Model API").then(
        "model_info",
        labels=_labels(info),
        mean=(0.0,) if inside else mean,
        std=(1.0,) if inside else std,
        resize=resize,
        fill=round(_numbers(info, "pad_value", (0.0,))[0]) if resize == "letterbox" else None,
    )
    if _yes(info.get("embedded_processing")):
        sides = [_numbers(info, key, (0.0,))[0] for key in ("orig_width", "orig_height")]
        size = (int(sides[0]), int(sides[1])) if all(sides) else None
        return told.then("model_info, embedded_processing", size=size, layout="NHWC", colour="BGR")
    colour: Colour = "RGB" if _yes(info.get("reverse_input_channels")) or geti else "BGR"
    return told.then("model_info" + ", as Geti gives pictures" * geti, colour=None if 1 in facts.shape[1:] else colour)


def _to_one(info: Mapping[str, str]) -> float:
    """What means and deviations are multiplied by to be those of values 0 to 1."""
    mode = info.get("intensity_mode", "none")
    if mode == "none":
        return 1 / 255
    if mode == "scale_to_unit" and info.get("input_dtype", "u8") == "u8":
        return _numbers(info, "intensity_max_value", (255.0,))[0] / 255
    raise ModelFileError(f"its intensity_mode is {mode}, and cameras here give 8 bits: train it for pictures of 8 bits")


def _numbers(info: Mapping[str, str], key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in re.split(r"[\s,\[\]]+", info.get(key, "")) if word) or default
    except ValueError as error:
        raise ModelFileError(f"its {key} is {info[key][:60]}, which are no numbers: export it again") from error


def _labels(info: Mapping[str, str]) -> tuple[str, ...] | None:
    """`label_info` keeps blanks, `labels` has `_` for them."""
    short = tuple(info.get("labels", "").split())
    try:
        long = json.loads(info.get("label_info", "{}")).get("label_names", [])
    except (ValueError, AttributeError):
        long = []
    if isinstance(long, list) and long and len(long) >= len(short):
        return tuple(str(name) for name in long)
    return short or None


def _yes(value: str | None) -> bool:
    return value is not None and value.strip().lower() in ("true", "yes", "1")
