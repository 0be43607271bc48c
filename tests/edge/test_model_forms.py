"""Models of every form give the same scores in every backend: order of channels, layout, type of the input."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.backends import BACKENDS, BackendName, Plan
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.openvino import OpenVinoBackend
from edge.preprocess import Colour, InputSpec, InputType, Layout

WIDTH, HEIGHT, LABELS = 24, 16, 3
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("colour", ["BGR", "RGB", "GRAY"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_form(tmp_path: Path, name: BackendName, colour: Colour, layout: Layout, dtype: InputType) -> None:
    channels = 1 if colour == "GRAY" else 3
    spec = InputSpec(WIDTH, HEIGHT, colour, "stretch", layout, dtype, MEAN[:channels], STD[:channels])
    weights = np.random.default_rng(3).normal(0, 1, (LABELS, channels, 3, 3)).astype(np.float32)
    model = tmp_path / "model.onnx"
    onnx.save(network(spec, weights), str(model))
    kind = OnnxRuntimeBackend if name == "onnxruntime" else OpenVinoBackend
    backend = kind(model, spec, Plan(name, "cpu", "fp32"), None)
    picture = np.zeros(spec.shape, np.uint8)
    scores = np.zeros((1, LABELS), np.float32)
    run = backend.bind(picture, scores)
    for seed in (1, 2):
        picture[...] = np.random.default_rng(seed).integers(0, 255, spec.shape)
        run()
        assert np.abs(scores[0] - reference(spec, weights, picture[0])).max() < 1e-4


def test_what_is_lacking_is_added_without_allocating_pictures() -> None:
    import tracemalloc

    from edge.backends.host_input import HostInput

    spec = InputSpec(640, 480, "RGB", "stretch", "NCHW", "float32", MEAN, STD)
    convert = HostInput(spec, np.zeros(spec.shape, np.uint8))
    convert()
    tracemalloc.start()
    convert()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000, "numpy's own buffers are smaller than that, a channel is not"


def reference(spec: InputSpec, weights: npt.NDArray[np.float32], picture: npt.NDArray[np.uint8]) -> Any:
    """The same by hand, in float64."""
    ordered = picture[..., ::-1] if spec.colour == "RGB" else picture
    planes = ((ordered / 255 - spec.mean) / spec.std).transpose(2, 0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(planes, (3, 3), (1, 2))
    sums = np.einsum("chwij,lcij->lhw", windows, weights).mean((1, 2))
    powers = np.exp(sums - sums.max())
    return powers / powers.sum()


def network(spec: InputSpec, weights: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """One convolution over everything, as a file of that form: uint8 normalises itself."""
    channels = spec.channels
    shape = [1, channels, HEIGHT, WIDTH] if spec.layout == "NCHW" else [1, HEIGHT, WIDTH, channels]
    nodes, last = [], "image"
    constants: dict[str, npt.NDArray[Any]] = {"weights": weights, "axes": np.array([2, 3], np.int64)}
    if spec.layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [last], ["channels_first"], perm=[0, 3, 1, 2]))
        last = "channels_first"
    if spec.dtype == "uint8":
        shape_of_a_value = (1, channels, 1, 1)
        scale = 1 / (255 * np.array(spec.std, np.float32).reshape(shape_of_a_value))
        offset = -np.array(spec.mean, np.float32).reshape(shape_of_a_value) / np.array(spec.std, np.float32).reshape(
            shape_of_a_value
        )
        constants |= {"scale": scale, "offset": offset}
        nodes += [
            helper.make_node("Cast", [last], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["normal"]),
        ]
        last = "normal"
    nodes += [
        helper.make_node("Conv", [last, "weights"], ["features"], kernel_shape=[3, 3]),
        helper.make_node("ReduceMean", ["features", "axes"], ["means"], keepdims=0),
        helper.make_node("Softmax", ["means"], ["scores"], axis=1),
    ]
    element = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("image", element, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, LABELS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
