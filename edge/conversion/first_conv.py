"""The first convolution of an ONNX graph: what is done to the channels of a picture can be done to its weights."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

_ALIKE = ("Cast", "QuantizeLinear", "DequantizeLinear", "Mul", "Div", "Sub", "Add")
"""Steps that may do the same to every channel; whether one does is told by its other inputs."""


@dataclass(frozen=True, slots=True)
class FirstConv:
    """The weights of a convolution that alone reads the input, (outputs, channels, height, width).

    Attributes:
        weights: in the graph; float32, or int8 with scales that are the same for all channels of the input.
        linear: nothing lies between input and convolution that rounds or adds, so factors can pass.
    """

    weights: onnx.TensorProto
    linear: bool

    def reverse_channels(self) -> None:
        """As if the channels of the picture came in the opposite order."""
        self._replace(numpy_helper.to_array(self.weights)[:, ::-1])

    def multiply_channels(self, factors: npt.NDArray[np.float32]) -> bool:
        """As if each channel of the picture was multiplied by its factor; False where that cannot be done."""
        values = numpy_helper.to_array(self.weights)
        if not self.linear or values.dtype != np.float32:
            return False
        self._replace(values * factors[:, None, None])
        return True

    def _replace(self, values: npt.NDArray[np.generic]) -> None:
        self.weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), self.weights.name))


def find_first_conv(graph: onnx.GraphProto, name: str, axis: int) -> FirstConv | None:
    """The convolution that the value `name` leads to and nothing else does, if its weights can be changed for it.

    Args:
        graph: of the model.
        name: of a value with four dimensions.
        axis: which of them has the channels.
    """
    linear = True
    while name not in {output.name for output in graph.output}:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1:
            return None
        node = readers[0]
        if node.op_type == "Conv" and node.input[0] == name:
            weights = _weights(graph, node)
            return FirstConv(weights, linear) if weights is not None and axis == 1 else None
        if node.op_type == "Transpose" and node.attribute:
            axis = list(node.attribute[0].ints).index(axis)
        elif node.op_type in _ALIKE and _all_channels_alike(graph, node, name):
            linear = False
        else:
            return None
        name = node.output[0]
    return None


def _all_channels_alike(graph: onnx.GraphProto, node: onnx.NodeProto, name: str) -> bool:
    others = [constant_of(graph, other) for other in node.input if other and other != name]
    return all(other is not None and other.size == 1 for other in others)


def _weights(graph: onnx.GraphProto, conv: onnx.NodeProto) -> onnx.TensorProto | None:
    """Those of a convolution over all channels, if nothing else reads them."""
    if any(attribute.name == "group" and attribute.i != 1 for attribute in conv.attribute):
        return None
    name = conv.input[1]
    source = [node for node in graph.node if name in node.output]
    if source and source[0].op_type == "DequantizeLinear" and _readers(graph, name) == 1:
        scale = constant_of(graph, source[0].input[1])
        axis = next((attribute.i for attribute in source[0].attribute if attribute.name == "axis"), 1)
        if scale is None or (scale.size > 1 and axis != 0):
            return None
        name = source[0].input[0]
    found = [weight for weight in graph.initializer if weight.name == name]
    return found[0] if found and _readers(graph, name) == 1 else None


def _readers(graph: onnx.GraphProto, name: str) -> int:
    return sum(list(node.input).count(name) for node in graph.node)


def constant_of(graph: onnx.GraphProto, name: str) -> npt.NDArray[np.generic] | None:
    """A value that is the same whatever the picture: a weight, or a node that holds one."""
    for weight in graph.initializer:
        if weight.name == name:
            return np.asarray(numpy_helper.to_array(weight))
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output and node.attribute[0].name == "value":
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
    return None
