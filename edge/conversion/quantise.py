"""The INT8 form of an ONNX model: static quantisation by ONNX Runtime, as QDQ."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.backends import Plan
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.frame import Image
from edge.preprocess import InputSpec

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
TOGETHER = 8
"""Pictures whose activations a histogram is begun with. Of one alone it could be so fine that the others do not fit."""


def quantise(fp32: Path, int8: Path, inputs: Iterable[Image], method: str, also: Sequence[str] = ()) -> None:
    """Write the INT8 form (QDQ, one scale for each output channel of the weights) of a model.

    Args:
        fp32: takes uint8 (1, height, width, channels).
        int8: written, or replaced, when it is done.
        inputs: to calibrate with, each in the shape that the model takes.
        method: one of METHODS.
        also: further operators to quantise.

    Raises:
        ValueError: there are no pictures.
    """
    pictures = list(inputs)
    if not pictures:
        raise ValueError("there are no pictures to calibrate with: give some")
    together = min(TOGETHER, len(pictures))
    pictures = pictures[: len(pictures) // together * together]
    with tempfile.TemporaryDirectory() as folder:
        prepared, new = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)  # every shape is fixed
        apart = _apart(prepared)
        quantize_static(
            str(prepared),
            str(new),
            _Calibration(_input_name(fp32), pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # 7 bits for the weights: processors without VNNI add up pairs of products in 16 bits, in either engine, and
            # with 8 bits that overflows.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Add", "Relu", "Gemm", "MatMul", "MaxPool", "GlobalMaxPool", "Resize", *also],
            nodes_to_exclude=apart,
            calibrate_method=METHODS[method],
            extra_options={
                "ActivationSymmetric": False,
                "WeightSymmetric": True,
                # Histograms are made of a few pictures after the other: else every activation of all of them is kept.
                **({} if method == "minmax" else {"CalibStridedMinMax": together}),
            },
        )
        write_bare(onnx.load(new), int8)


def _apart(path: Path) -> list[str]:
    """The nodes that stay in floating point though their kind is quantised; nodes without a name are given one.

    What lies before the first layer normalises the picture: 8 bits for the mean of the surroundings, say, leave steps
    in what it is subtracted from. (Not so a sum, which is left: without it OpenVINO takes mean and deviation for one
    operator of its own, MVN, whose 8-bit form answers otherwise than all the rest.) Behind a sum over a map, a step of
    8 bits may be more than all that a small defect adds to it. A layer takes what it is given in 8 bits again.
    """
    model = onnx.load(path)
    first = {value.name for value in model.graph.input} - {weight.name for weight in model.graph.initializer}
    summed: set[str] = set()
    names = []
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
        if node.op_type in LAYERS:
            continue
        if first.intersection(node.input):
            first.update(node.output)
            names += [node.name] if node.op_type != "Add" else []
        elif node.op_type.startswith("Reduce") or summed.intersection(node.input):
            summed.update(node.output)
            names.append(node.name)
    onnx.save(model, path)
    return names


def write_bare(model: onnx.ModelProto, path: Path) -> None:
    """Write a model without notes and without the shapes between its operators, which a change of these makes wrong."""
    del without_notes(model).graph.value_info[:]
    onnx.save(model, path)


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same without what its exporter noted: the lines of Python that each operator came from, with their paths."""
    graph = model.graph
    for noted in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del noted.metadata_props[:]
        noted.ClearField("doc_string")
    return model


def scores_of(model: Path, spec: InputSpec, images: Image, labels: int) -> npt.NDArray[np.float32]:
    """What ONNX Runtime's own backend answers to pictures (n, height, width, channels) uint8: (n, labels)."""
    picture: Image = np.empty(spec.shape, np.uint8)
    scores = np.empty((1, labels), np.float32)
    run = OnnxRuntimeBackend(model, spec, Plan("onnxruntime", "cpu", "int8"), None).bind(picture, scores)
    rows = []
    for image in images:
        picture[0] = image
        run()
        rows.append(scores[0].copy())
    return np.stack(rows)


def _input_name(model: Path) -> str:
    graph = onnx.load(model).graph
    weights = {weight.name for weight in graph.initializer}  # old models list them as inputs, too
    return next(str(value.name) for value in graph.input if value.name not in weights)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the library is untyped
    def __init__(self, name: str, inputs: Sequence[Image]) -> None:
        self._name = name
        self._inputs = inputs
        self._next, self._end = 0, len(inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Image] | None:
        if self._next >= self._end:
            return None
        self._next += 1
        return {self._name: self._inputs[self._next - 1]}
