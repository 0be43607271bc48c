"""ONNX files of elsewhere. Loaded on demand: it needs the package onnx."""

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, external_data_helper, helper, inliner, numpy_helper, version_converter

from edge.conversion.extend import extend
from edge.conversion.original import Original
from edge.frame import Image
from edge.preprocess import InputType
from service.model.facts import Facts, ModelFileError, Scores

_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Of operators that ONNX Runtime has."""
_OPSET = 13
"""The first one with scales for each channel, which INT8 takes."""
_EXPLAINING = {"saliency_map", "feature_vector"}
"""Outputs of Geti beside the scores."""
_CHANGE_NO_VALUES = {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "DequantizeLinear", "QuantizeLinear"}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}


class OnnxFile:
    """See `ModelFile`.

    Raises:
        ModelFileError: it is no ONNX file, not whole, or not one of a classifier that runs here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._model = model = _load(path)
        _check_operators(model)
        _check_weights(model)
        _keep_the_scores(model)
        shape, dtype, self._half = _input(model)
        self.facts = Facts(
            {entry.key: entry.value for entry in model.metadata_props}, _classes(model), shape, dtype, _labels(model)
        )
        self._together = shape[0] or 1
        self.precision: Literal["int8", "fp16", "fp32"] = _precision(model)
        self.several_at_once = _last_step(model) == "Sigmoid"

    def scores(self, taken: Original, images: Image) -> Scores:
        name = _the_input(self._model).name
        try:
            session = ort.InferenceSession(self._model.SerializeToString(), _quiet(), ["CPUExecutionProvider"])
            rows = []
            for image in images:
                picture = np.repeat(taken.prepare(image), self._together, 0)
                found = session.run(None, {name: picture.astype(np.float16) if self._half else picture})[0]
                rows.append(np.asarray(found[0], np.float32).reshape(-1))
        except Exception as error:  # the runtime's exceptions have no common ancestor of their own
            raise ModelFileError(f"ONNX Runtime cannot run it ({_first_line(error)})") from error
        return np.stack(rows)

    def convert(self, taken: Original, folder: Path, *, softmax: bool) -> Path:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if self._half:
            _take_float32(model)
        try:
            extended = extend(_newer(model), taken, softmax=softmax)
        except Exception as error:
            several = f"its input is fixed at {self._together} pictures at a time: export it for one"
            reason = several if self._together > 1 else f"it cannot be given the camera's input ({_first_line(error)})"
            raise ModelFileError(reason) from error
        del extended.metadata_props[:]  # what it says does not hold any more
        target = folder / "model.onnx"
        onnx.save(extended, target)
        return target


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, which is not worth a dependency
        raise ModelFileError("it is no ONNX file, or only the first part of one: export or copy it again") from error
    if not model.graph.node or not model.opset_import:
        raise ModelFileError("it is no ONNX file: there is no network in it")
    _load_external_data(model, path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _sort(model.graph)
    return model


def _sort(graph: onnx.GraphProto) -> None:
    """Each step after those that it reads from, as ONNX wants it; tools that cast to float16 leave some behind."""
    made_by = {name: number for number, node in enumerate(graph.node) for name in node.output}
    order: dict[int, None] = {}
    for number in range(len(graph.node)):
        waiting = [number]
        while waiting:
            before = {made_by[name] for name in _read_by(graph.node[waiting[-1]]) if name in made_by} - set(order)
            before -= set(waiting)  # a loop, which no engine takes
            if before:
                waiting += sorted(before)
            else:
                order[waiting.pop()] = None
    if list(order) != sorted(order):
        nodes = [graph.node[number] for number in order]
        sorted_nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(sorted_nodes)


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Also by the branches in it, which read what lies outside of them."""
    branches = [attribute.g for attribute in node.attribute if attribute.g.node]
    return {*node.input, *(name for branch in branches for inner in branch.node for name in _read_by(inner))}


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Weights that lie in files beside the model, as torch writes them."""
    needed: dict[str, int] = {}
    for weight in model.graph.initializer:
        if external_data_helper.uses_external_data(weight):
            info = external_data_helper.ExternalDataInfo(weight)
            needed[info.location] = max(needed.get(info.location, 0), (info.offset or 0) + (info.length or 0))
    for location, size in needed.items():
        beside = path.parent / location
        if not beside.is_file():
            raise ModelFileError(f"its weights lie in {location}, which is missing: copy that file beside it, too")
        if beside.stat().st_size < size:
            raise ModelFileError(f"its weights lie in {location}, which is shorter than it should be: copy it again")
    if needed:
        try:
            external_data_helper.load_external_data_for_model(model, str(path.parent))
        except Exception as error:
            raise ModelFileError(f"its weights beside it cannot be read ({_first_line(error)})") from error


def _check_operators(model: onnx.ModelProto) -> None:
    foreign = sorted({f"{node.op_type} of {node.domain}" for node in model.graph.node if node.domain not in _DOMAINS})
    if foreign:
        raise ModelFileError(
            f"it has custom operators ({', '.join(foreign)}), which no engine here knows: export it without them"
        )
    version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if version > onnx.defs.onnx_opset_version():
        raise ModelFileError(f"it is of opset {version}, newer than what is known here: export it with opset 18")
    unknown = sorted(
        {
            node.op_type
            for node in model.graph.node
            if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type, max_inclusive_version=version)
        }
    )
    if unknown:
        raise ModelFileError(f"it has operators that ONNX does not know ({', '.join(unknown)}): export it without them")


def _check_weights(model: onnx.ModelProto) -> None:
    for weight in model.graph.initializer:
        if weight.data_type in _FLOATS and np.isnan(_array(weight)).any():
            raise ModelFileError(f"its weights {weight.name} have values that are no numbers (NaN): train it again")


def _array(weight: onnx.TensorProto) -> Scores:
    try:
        return np.asarray(numpy_helper.to_array(weight), np.float32)
    except Exception as error:
        raise ModelFileError(f"its weights {weight.name} are damaged ({_first_line(error)}): copy it again") from error


def _the_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {weight.name for weight in model.graph.initializer}  # old models list them as inputs, too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelFileError(f"it has {len(inputs)} inputs ({names}), and a classifier has one, the picture")
    found: onnx.ValueInfoProto = inputs[0]
    return found


def _input(model: onnx.ModelProto) -> tuple[tuple[int, int, int, int], InputType, bool]:
    """Shape (0 where it is open), type, and whether that stands for float16."""
    value = _the_input(model)
    kind = value.type.tensor_type.elem_type
    shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    if len(shape) != 4 or kind not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8):
        name = TensorProto.DataType.Name(kind).lower()
        raise ModelFileError(f"its input is {name} {shape}, and a picture is float32 or uint8 with four dimensions")
    dtype: InputType = "uint8" if kind == TensorProto.UINT8 else "float32"
    return (shape[0], shape[1], shape[2], shape[3]), dtype, kind == TensorProto.FLOAT16


def _keep_the_scores(model: onnx.ModelProto) -> None:
    """Leave one output: Geti's explanations lie beside the scores."""
    outputs = list(model.graph.output)
    rows = [value for value in outputs if value.name not in _EXPLAINING]
    if len(rows) != 1:
        names = ", ".join(value.name for value in outputs)
        raise ModelFileError(f"it has {len(outputs)} outputs ({names}), and a classifier has one, the scores")
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(rows[0])
    del model.graph.output[:]
    model.graph.output.append(kept)
    if len(outputs) > 1:
        _drop_what_nobody_reads(model.graph)


def _drop_what_nobody_reads(graph: onnx.GraphProto) -> None:
    wanted = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= _read_by(node) - {""}
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _labels(model: onnx.ModelProto) -> int:
    sides = [dimension.dim_value for dimension in model.graph.output[0].type.tensor_type.shape.dim]
    return int(np.prod(sides[1:])) if len(sides) > 1 else 0


def _precision(model: onnx.ModelProto) -> Literal["int8", "fp16", "fp32"]:
    if any(node.op_type in ("QuantizeLinear", "QLinearConv", "ConvInteger") for node in model.graph.node):
        return "int8"
    sizes = dict.fromkeys(_FLOATS, 0)
    for weight in model.graph.initializer:
        if weight.data_type in sizes:
            sizes[weight.data_type] += int(np.prod(weight.dims))
    return "fp16" if sizes[TensorProto.FLOAT16] > sizes[TensorProto.FLOAT] else "fp32"


def _last_step(model: onnx.ModelProto) -> str:
    """What gives the scores, whatever only changes their form."""
    name = model.graph.output[0].name
    for node in reversed(model.graph.node):
        if name in node.output:
            if node.op_type not in _CHANGE_NO_VALUES:
                return str(node.op_type)
            name = node.input[0]
    return ""


def _classes(model: onnx.ModelProto) -> str:
    """The Python classes that torch notes at each node (its exporter of 2.5 and later)."""
    kept = "pkg.torch.onnx.class_hierarchy"
    return " ".join(entry.value for node in model.graph.node[:8] for entry in node.metadata_props if entry.key == kept)


def _take_float32(model: onnx.ModelProto) -> None:
    """Casts around a model that takes and gives float16."""
    value, output = _the_input(model), model.graph.output[0]
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == value.name:
                node.input[index] = f"{name}/half"
        for index, name in enumerate(node.output):
            if name == output.name:
                node.output[index] = f"{name}/half"
    model.graph.node.insert(0, helper.make_node("Cast", [value.name], [f"{value.name}/half"], to=TensorProto.FLOAT16))
    model.graph.node.append(helper.make_node("Cast", [f"{output.name}/half"], [output.name], to=TensorProto.FLOAT))
    value.type.tensor_type.elem_type = output.type.tensor_type.elem_type = TensorProto.FLOAT


def _newer(model: onnx.ModelProto) -> onnx.ModelProto:
    """Of an opset that INT8 can be made of, if it can be brought there."""
    if max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=_OPSET) >= _OPSET:
        return model
    try:
        return version_converter.convert_version(model, _OPSET)
    except Exception:  # noqa: BLE001  # it stays as it is, and runs as it did
        return model


def _quiet() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return options


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0][:300]
