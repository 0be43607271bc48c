"""OpenVINO's own files of elsewhere, the .xml with its .bin. Loaded on demand."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
import yaml
from openvino import opset13 as opset
from openvino.preprocess import ColorFormat, PrePostProcessor

from edge.conversion.original import Original
from edge.frame import Image
from edge.preprocess import InputType, Layout
from service.model.facts import Facts, ModelFileError, Scores
from service.model.metadata import MODEL_INFO

_EXPLAINING = {"saliency_map", "feature_vector"}
_CHANGE_NO_VALUES = {"Convert", "Reshape", "Squeeze", "Result"}


class IrFile:
    """See `ModelFile`.

    Raises:
        ModelFileError: it is no such file, not whole, or not one of a classifier.
    """

    def __init__(self, path: Path) -> None:
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise ModelFileError(f"its weights, {weights.name}, are missing: copy that file beside it, too")
        self._path = path
        model = self._read()
        self._output = _the_output(model)
        shape, dtype, layout = _input(model)
        self._together = shape[0] or 1
        given = model.output(self._output).get_partial_shape()
        labels = given[1].get_length() if given.rank.is_static and len(given) > 1 and given[1].is_static else 0
        self.facts = Facts(_metadata(model, path), "", shape, dtype, labels, layout)
        self.precision: Literal["int8", "fp16", "fp32"] = _precision(model)
        self.several_at_once = _last_step(model, self._output) == "Sigmoid"

    def scores(self, taken: Original, images: Image) -> Scores:
        try:
            model = self._read()
            model.reshape([self._together, *taken.shape[1:]])
            compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            rows = []
            for image in images:
                found = compiled([np.repeat(taken.prepare(image), self._together, 0)])[compiled.output(self._output)]
                rows.append(np.asarray(found[0], np.float32).reshape(-1))
        except Exception as error:  # OpenVINO raises bare RuntimeError and pybind's own kinds
            raise ModelFileError(f"OpenVINO cannot run it ({_last_line(error)})") from error
        return np.stack(rows)

    def convert(self, taken: Original, folder: Path, *, softmax: bool) -> Path:
        target = folder / "model.xml"
        try:
            model = self._read()
            model.reshape(list(taken.shape))
            scores = model.output(self._output).get_node().input_value(0)
            row = opset.reshape(scores, np.array([1, -1], np.int64), special_zero=False)
            if row.get_element_type() != ov.Type.f32:
                row = opset.convert(row, "f32")
            row = opset.softmax(row, 1) if softmax else row
            model = ov.Model([opset.result(row)], model.get_parameters(), "classifier")
            ov.save_model(_with_the_cameras_input(model, taken), target, compress_to_fp16=False)
        except Exception as error:
            several = f"its input is fixed at {self._together} pictures at a time: export it for one"
            reason = several if self._together > 1 else f"it cannot be given the camera's input ({_last_line(error)})"
            raise ModelFileError(reason) from error
        return target

    def _read(self) -> ov.Model:
        try:
            return ov.Core().read_model(self._path)
        except Exception as error:
            raise ModelFileError(
                f"it is no OpenVINO model that can be read ({_last_line(error)}): export or copy it again"
            ) from error


def _with_the_cameras_input(model: ov.Model, taken: Original) -> ov.Model:
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout(taken.layout))
    if taken.colour == "RGB":
        steps.input().tensor().set_color_format(ColorFormat.BGR)
        steps.input().preprocess().convert_color(ColorFormat.RGB)
    if taken.dtype == "float32":
        first = steps.input().preprocess().convert_element_type(ov.Type.f32)
        first.mean([255 * value for value in taken.mean]).scale([255 * value for value in taken.std])
    return steps.build()


def _metadata(model: ov.Model, path: Path) -> dict[str, str]:
    """`model_info` as Model API reads it, or what Ultralytics writes into a file beside."""
    beside = path.parent / "metadata.yaml"
    if beside.is_file():
        try:
            found = yaml.safe_load(beside.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ModelFileError(f"{beside} cannot be read: correct or remove it") from error
        if isinstance(found, dict) and "task" in found:
            return {str(key): str(value) for key, value in found.items()}
    if not model.has_rt_info(["model_info"]):
        return {}
    info: Any = model.get_rt_info(["model_info"]).value
    return {MODEL_INFO + key: _text(value) for key, value in info.items()} if isinstance(info, dict) else {}


def _text(value: Any) -> str:
    value = getattr(value, "value", value)
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _input(model: ov.Model) -> tuple[tuple[int, int, int, int], InputType, Layout | None]:
    if len(model.inputs) != 1:
        raise ModelFileError(f"it has {len(model.inputs)} inputs, and a classifier has one, the picture")
    shape, kind = model.input().get_partial_shape(), model.input().get_element_type()
    if shape.rank.is_dynamic or len(shape) != 4 or kind not in (ov.Type.f32, ov.Type.u8):
        raise ModelFileError(
            f"its input is {kind.get_type_name()} {shape}, and a picture is f32 or u8 with four dimensions"
        )
    sides = [0 if side.is_dynamic else side.get_length() for side in shape]
    dtype: InputType = "uint8" if kind == ov.Type.u8 else "float32"
    told = ov.layout_helpers.get_layout(model.input()).to_string().strip("[]").replace(",", "")
    layouts: dict[str, Layout] = {"NCHW": "NCHW", "NHWC": "NHWC"}
    return (sides[0], sides[1], sides[2], sides[3]), dtype, layouts.get(told)


def _the_output(model: ov.Model) -> int:
    """The number of the one that has the scores: Geti's explanations lie beside them."""
    rows = [number for number, one in enumerate(model.outputs) if not one.get_names() & _EXPLAINING]
    if len(rows) != 1:
        raise ModelFileError(f"it has {len(model.outputs)} outputs, and a classifier has one, the scores")
    return rows[0]


def _precision(model: ov.Model) -> Literal["int8", "fp16", "fp32"]:
    sizes = {"f16": 0, "f32": 0}
    for node in model.get_ops():
        if node.get_type_name() == "FakeQuantize":
            return "int8"
        if node.get_type_name() == "Constant":
            kind = node.get_element_type().get_type_name()
            if kind in sizes:
                if np.isnan(node.data).any():
                    raise ModelFileError(
                        f"its weights {node.get_friendly_name()} have values that are no numbers (NaN): train it again"
                    )
                sizes[kind] += node.data.size
    return "fp16" if sizes["f16"] > sizes["f32"] else "fp32"


def _last_step(model: ov.Model, output: int) -> str:
    node = model.output(output).get_node()
    while node.get_type_name() in _CHANGE_NO_VALUES:
        node = node.input_value(0).get_node()
    return str(node.get_type_name())


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).rsplit("\n", 1)[-1][:300]
