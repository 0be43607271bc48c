"""From the logits of a segmenter to what the daemon reads: the mask and its confidence, small and ready in the graph.

    logits (n, labels, height, width) -> mask        (n, height, width) uint8: the number of the best label
                                      -> confidence  (n, height, width) uint8: 255 times its softmax value

As float32 logits the answer would be tens of times as large, and every line would work on it for itself.
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


def append_mask(model: ModelProto) -> None:
    """Put both in place of the one output of a model, its logits.

    Raises:
        ValueError: it has several outputs, or one that is no picture of logits.
    """
    graph = model.graph
    if len(graph.output) != 1:
        names = ", ".join(output.name for output in graph.output)
        raise ValueError(f"the model has the outputs {names}: keep the logits alone")
    logits = graph.output[0]
    sides = [side.dim_value or side.dim_param or "" for side in logits.type.tensor_type.shape.dim]
    if len(sides) != 4:
        raise ValueError(f"the output {logits.name} is {sides}: logits are (n, labels, height, width)")
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "confidence_scale"))
    graph.node.extend(
        [
            helper.make_node("ArgMax", [logits.name], ["best_label"], "best_label", axis=1, keepdims=0),
            helper.make_node("Cast", ["best_label"], ["mask"], "mask", to=TensorProto.UINT8),
            helper.make_node("Softmax", [logits.name], ["softmax"], "softmax", axis=1),
            _reduce_max(model, opset),
            helper.make_node("Mul", ["best_score", "confidence_scale"], ["scaled_score"], "scale_score"),
            helper.make_node("Round", ["scaled_score"], ["rounded_score"], "round_score"),
            helper.make_node("Cast", ["rounded_score"], ["confidence"], "confidence", to=TensorProto.UINT8),
        ]
    )
    shape = [sides[0], sides[2], sides[3]]
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("mask", "confidence")
    )
    onnx.checker.check_model(model, full_check=True)


def _reduce_max(model: ModelProto, opset: int) -> NodeProto:
    """The axes became an input with opset 18."""
    if opset < 18:
        return helper.make_node("ReduceMax", ["softmax"], ["best_score"], "best_score", axes=[1], keepdims=0)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "label_axis"))
    return helper.make_node("ReduceMax", ["softmax", "label_axis"], ["best_score"], "best_score", keepdims=0)
