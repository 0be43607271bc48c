"""The smaller forms of an ONNX model besides static INT8 (`edge.conversion.quantise`): dynamic INT8, and FP16."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from edge.conversion.quantise import write_bare
from edge.conversion.quiet import quiet

MULTIPLY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators with weights."""


def dynamic_int8(fp32: Path, int8: Path) -> None:
    """INT8 weights; the ranges of what lies between the layers are found anew for every picture.

    It takes no pictures to calibrate with. Weights are uint8: ONNX Runtime's convolutions of this kind take no others.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared, new = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        write_bare(onnx.load(prepared), prepared)  # it turns matrices around, and would trip over their noted shapes
        quantize_dynamic(str(prepared), str(new), weight_type=QuantType.QUInt8)
        write_bare(onnx.load(new), int8)


def half(fp32: Path, fp16: Path) -> None:
    """FP16 from the first layer with weights to the last: for NCS2 and GPUs.

    What normalises the picture before and makes scores of it after stays in FP32: the sums over all pixels of a picture
    that is normalised by its own values are too long for FP16.

    Raises:
        ValueError: there is no layer with weights.
    """
    with quiet():
        model = onnx.load(fp32)
        converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True, node_block_list=around(model)))
        _without_detours(converted.model)
        converted.topological_sort()  # it puts its conversions at the end
    half_of = converted.model
    del half_of.graph.value_info[:]  # what was noted of the types is true no more
    onnx.checker.check_model(half_of, full_check=True)
    write_bare(half_of, fp16)


def _without_detours(model: ModelProto) -> None:
    """Between operators that stay in FP32 the library goes to FP16 and back: straight on instead."""
    nodes = model.graph.node
    made = {output: node for node in nodes for output in node.output}
    straight = {}
    for node in nodes:
        before = made.get(node.input[0]) if _casts_to(node, TensorProto.FLOAT) else None
        if before is not None and _casts_to(before, TensorProto.FLOAT16):
            straight[node.output[0]] = before.input[0]
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = straight.get(name, name)
    # The last of them would be the output itself: it goes, and what it converted takes its name.
    ends = {straight[value.name]: value.name for value in model.graph.output if value.name in straight}
    kept: dict[str, NodeProto] = {}  # it also converts a value once for each time that it is used
    for node in nodes:
        if node.op_type == "Cast" and node.output[0] in straight:
            continue
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = ends.get(name, name)
        kept.setdefault(node.output[0], node)
    used = {name for node in kept.values() for name in node.input} | {value.name for value in model.graph.output}
    left = [node for name, node in kept.items() if node.op_type != "Cast" or name in used]
    del nodes[:]
    nodes.extend(left)


def _casts_to(node: NodeProto, kind: int) -> bool:
    return bool(node.op_type == "Cast" and node.attribute[0].i == kind)


def around(model: ModelProto) -> list[str]:
    """The names of the operators before the first layer with weights and after the last.

    Raises:
        ValueError: there is no layer with weights.
    """
    nodes = list(model.graph.node)
    places = [number for number, node in enumerate(nodes) if node.op_type in MULTIPLY]
    if not places:
        raise ValueError("the model has no layer with weights, so nothing of it can be made smaller")
    return [node.name for node in (*nodes[: places[0]], *nodes[places[-1] + 1 :])]


def check_weights(path: Path) -> None:
    """Whether a model can be made smaller at all.

    Raises:
        ValueError: it has weights that are not finite numbers.
    """
    for weight in onnx.load(path).graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{path}: {weight.name} has values that are not finite numbers (NaN): train it again")
