"""Make an ONNX model of elsewhere take what the camera gives.

    image (1, height, width, channels) uint8, BGR or grey
      -> Transpose -> Cast -> Sub -> [Mul] -> the model as it was -> [Flatten] -> [Softmax] -> scores (1, labels)

What depends on nothing but the weights costs nothing while the daemon runs: the order of the channels, and the
division by std, go into the weights of the first convolution. Its bias cannot take the mean: a convolution pads with
zeros, which is the mean of a normalised picture but black in one that is not.

The Transpose comes before the Sub: with the channels last, ONNX Runtime takes more than twice as long for these steps.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from edge.conversion.first_conv import FirstConv, find_first_conv
from edge.conversion.original import Original
from edge.conversion.writer import golden_inputs
from edge.preprocess import Layout

Array = npt.NDArray[np.float32]

INPUT = "image"
LARGEST_DIFFERENCE = 1e-4
LARGEST_DIFFERENCE_INT8 = 0.05
"""Values that lie on the border between two steps of the first quantisation may fall to either side."""


def extend(model: onnx.ModelProto, original: Original, *, softmax: bool = False) -> onnx.ModelProto:
    """A copy of `model` with the input `image`, (1, height, width, channels) uint8, and (1, labels) as its output.

    Raises:
        ValueError: the model has more than one input or output, or gives something else than a score for each label.
    """
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    graph = extended.graph
    old = the_input(extended)
    channels = original.spec.channels
    mean, std = _of_each(original.mean, channels, "mean"), _of_each(original.std, channels, "std")
    if original.dtype == "uint8" and (mean.any() or (std != 1).any()):
        raise ValueError("the model takes uint8, so its normalisation is inside: leave --mean and --std away")
    first = find_first_conv(graph, old.name, 1 if original.layout == "NCHW" else 3)
    before = _Before(graph, original.layout)
    if original.layout == "NCHW":
        before.add("Transpose", perm=[0, 3, 1, 2])
    if original.colour == "RGB":  # the camera gives BGR
        if first is not None:
            first.reverse_channels()
            mean, std = mean[::-1], std[::-1]
        else:
            before.gather([2, 1, 0])
    if original.dtype == "float32":
        before.add("Cast", to=TensorProto.FLOAT)
        _normalise(before, first, mean, std)
    _take_the_place_of(graph, old, before, original)
    _finish(extended, softmax=softmax)
    return extended


def check(model: onnx.ModelProto, extended: onnx.ModelProto, original: Original, *, softmax: bool = False) -> float:
    """The largest difference between the scores of both, on rendered pictures.

    Raises:
        ValueError: it is too large.
    """
    before, after = _session(model), _session(extended)
    name = before.get_inputs()[0].name
    difference = 0.0
    for image in golden_inputs(original.spec, seed=11):
        raw: Array = before.run(None, {name: original.prepare(image)})[0].reshape(1, -1)
        exponentials = np.exp(raw - raw.max())
        wanted = exponentials / exponentials.sum() if softmax else raw
        given = after.run(None, {after.get_inputs()[0].name: image[None]})[0]
        if softmax == bool(np.isclose(raw.sum(), 1, atol=1e-3) and raw.min() >= 0):
            remedy = "leave --softmax away" if softmax else "add --softmax"
            raise ValueError(f"the model's own scores come to {raw.sum():.3g} together: {remedy}")
        difference = max(difference, float(np.abs(given - wanted).max()))
    quantised = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    if not difference <= (LARGEST_DIFFERENCE_INT8 if quantised else LARGEST_DIFFERENCE):
        raise ValueError(f"the extended model's scores differ from the original's by {difference:.2g}: nothing written")
    return difference


def the_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input of a model.

    Raises:
        ValueError: it has several, or several outputs.
    """
    weights = {weight.name for weight in model.graph.initializer}  # old models list them as inputs, too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ValueError(
            f"the model has {len(inputs)} inputs and {len(model.graph.output)} outputs: "
            "a classifier has one picture in and one row of scores out"
        )
    value: onnx.ValueInfoProto = inputs[0]
    return value


class _Before:
    """The steps that are put before a model."""

    def __init__(self, graph: onnx.GraphProto, layout: Layout) -> None:
        taken = {name for node in graph.node for name in node.output}
        self.input = INPUT if INPUT not in taken else f"{INPUT}/uint8"
        self.output = self.input
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._axis = 1 if layout == "NCHW" else 3

    def add(self, kind: str, weight: npt.NDArray[np.generic] | None = None, **attributes: Any) -> None:
        name = f"{INPUT}/{kind.lower()}"
        inputs = [self.output]
        if weight is not None:
            self.weights.append(numpy_helper.from_array(weight, f"{name}/by"))
            inputs.append(f"{name}/by")
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}/out"], name, **attributes))
        self.output = f"{name}/out"

    def gather(self, channels: list[int]) -> None:
        self.add("Gather", np.array(channels, np.int64), axis=self._axis)

    def by_channel(self, kind: str, values: Array) -> None:
        shape = [1, 1, 1, 1]
        shape[self._axis] = len(values)
        self.add(kind, np.ascontiguousarray(values, np.float32).reshape(shape))


def _normalise(before: _Before, first: FirstConv | None, mean: Array, std: Array) -> None:
    """`(value / 255 - mean) / std` as `(value - 255 mean) * 1 / (255 std)`, the product in the weights if it can be."""
    if mean.any():
        before.by_channel("Sub", (255 * mean).astype(np.float32))
    factor = (1 / (255 * std)).astype(np.float32)
    if first is None or not first.multiply_channels(factor):
        before.by_channel("Mul", factor)


def _take_the_place_of(graph: onnx.GraphProto, old: onnx.ValueInfoProto, before: _Before, original: Original) -> None:
    old_name = old.name  # `old` goes away below
    if not before.nodes:  # it took what the camera gives all along
        before.input = before.output = old_name
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old_name:
                node.input[index] = before.output
    nodes = [*before.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(before.weights)
    weights = {weight.name for weight in graph.initializer}
    others = [value for value in graph.input if value.name in weights]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(before.input, TensorProto.UINT8, original.spec.shape))
    graph.input.extend(others)


def _finish(model: onnx.ModelProto, *, softmax: bool) -> None:
    """Scores (1, labels) at the end; the shapes in between follow from that of the input, which is fixed now."""
    graph = model.graph
    del graph.value_info[:]
    output = graph.output[0].name
    graph.output[0].type.tensor_type.ClearField("shape")
    session = _session(model)
    picture = np.zeros(session.get_inputs()[0].shape, np.uint8)
    given = session.run(None, {session.get_inputs()[0].name: picture})[0]
    if given.dtype != np.float32 or given.ndim < 2 or len(given) != 1 or given.size < 2:
        raise ValueError(f"the model gives {given.dtype} {given.shape}: a classifier gives (1, labels) float32")
    for kind in ["Flatten"] * (given.ndim != 2) + ["Softmax"] * softmax:
        graph.node.append(helper.make_node(kind, [output], [f"scores/{kind.lower()}"], f"scores/{kind}", axis=1))
        output = f"scores/{kind.lower()}"
    graph.output[0].CopyFrom(helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, given.size]))
    onnx.checker.check_model(model, full_check=True)


def _of_each(values: tuple[float, ...], channels: int, name: str) -> Array:
    if len(values) not in (1, channels) or (name == "std" and min(values) <= 0):
        raise ValueError(f"{name} {list(values)}: give one value or {channels}" + " above 0" * (name == "std"))
    return np.broadcast_to(np.array(values, np.float32), channels).copy()


def _session(model: onnx.ModelProto) -> InferenceSession:
    return InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
