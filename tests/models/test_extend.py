"""`extend`: the model with the camera's input answers as the original does, whatever that one took."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from edge.preprocess import Colour

SIZE = 16
MEANS, STDS = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
COLOURS: tuple[Colour, ...] = ("RGB", "BGR", "GRAY")
Weights = dict[str, npt.NDArray[np.generic]]


def classifier(channels: int, layout: str, dtype: str, *, conv: bool = True, softmax: bool = True) -> onnx.ModelProto:
    """A small classifier of its own make: [Transpose], [Cast], Conv or MatMul, pooling, scores."""
    rng = np.random.default_rng(3)
    weights: Weights = {"w": rng.normal(0, 0.5, (4, channels, 3, 3)).astype(np.float32)}
    shape = [1, channels, SIZE, SIZE] if layout == "NCHW" else [1, SIZE, SIZE, channels]
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if dtype == "uint8":
        weights["byte"] = np.array([255], np.float32)
        steps += [("Cast", [], {"to": onnx.TensorProto.FLOAT}), ("Div", ["byte"], {})]
    if conv:
        steps += [("Conv", ["w"], {"pads": [1, 1, 1, 1]}), ("Relu", [], {}), ("GlobalAveragePool", [], {})]
        steps.append(("Flatten", [], {}))
    else:
        weights["w"] = rng.normal(0, 0.1, (channels * SIZE * SIZE, 4)).astype(np.float32)
        steps += [("Flatten", [], {}), ("MatMul", ["w"], {})]
    if softmax:
        steps.append(("Softmax", [], {"axis": 1}))
    return model_of(steps, weights, shape, dtype)


def model_of(
    steps: list[tuple[str, list[str], dict[str, Any]]], weights: Weights, shape: list[int], dtype: str
) -> onnx.ModelProto:
    nodes, last = [], "x"
    for number, (kind, others, attributes) in enumerate(steps):
        output = "y" if number == len(steps) - 1 else f"v{number}"
        nodes.append(onnx.helper.make_node(kind, [last, *others], [output], f"n{number}", **attributes))
        last = output
    element = onnx.TensorProto.FLOAT if dtype == "float32" else onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        nodes,
        "classifier",
        [onnx.helper.make_tensor_value_info("x", element, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.fixture(autouse=True)
def printed_difference(capsys: pytest.CaptureFixture[str]) -> Iterator[list[float]]:
    found: list[float] = []
    yield found
    with capsys.disabled():
        for value in found:
            print(f" {value:.1g}", end="")


@pytest.mark.parametrize("conv", [True, False], ids=["conv", "matmul"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", COLOURS)
def test_the_scores_are_those_of_the_original(
    colour: Colour, layout: str, dtype: str, conv: bool, printed_difference: list[float]
) -> None:
    from models.extend import Original, check, extend

    channels = 1 if colour == "GRAY" else 3
    mean, std = (MEANS[:channels], STDS[:channels]) if dtype == "float32" else ((0.0,), (1.0,))
    model = classifier(channels, layout, dtype, conv=conv)
    original = Original(colour, layout, SIZE, SIZE, dtype, mean, std)  # type: ignore[arg-type]  # Literals, from parameters
    extended = extend(model, original)
    printed_difference.append(check(model, extended, original))
    assert printed_difference[0] <= 1e-5
    picture = extended.graph.input[0]
    assert picture.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in picture.type.tensor_type.shape.dim] == [1, SIZE, SIZE, channels]
    assert ("Gather" in kinds(extended)) == (colour == "RGB" and not conv), "the first convolution takes the order"


def test_only_the_mean_is_left_before_a_convolution() -> None:
    from models.extend import Original, extend

    model = classifier(3, "NCHW", "float32")
    before = model.SerializeToString()
    extended = extend(model, Original("RGB", "NCHW", SIZE, SIZE, "float32", MEANS, STDS))
    assert kinds(extended)[:4] == ["Transpose", "Cast", "Sub", "Conv"]
    assert kinds(extend(model, Original("RGB", "NCHW", SIZE, SIZE)))[:3] == ["Transpose", "Cast", "Conv"]
    assert model.SerializeToString() == before, "the original was changed"


def test_a_quantised_model_keeps_what_engines_fuse(printed_difference: list[float]) -> None:
    from models.extend import Original, check, extend

    rng = np.random.default_rng(4)
    weights: Weights = {
        "s": np.array(0.03, np.float32),
        "z": np.array(118, np.uint8),
        "w": rng.integers(-127, 127, (4, 3, 3, 3), np.int8, endpoint=True),
        "ws": np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        "wz": np.zeros(4, np.int8),
    }
    model = model_of(
        [
            ("QuantizeLinear", ["s", "z"], {}),
            ("DequantizeLinear", ["s", "z"], {}),
            ("Conv", ["wf"], {"pads": [1, 1, 1, 1]}),
            ("GlobalAveragePool", [], {}),
            ("Flatten", [], {}),
            ("Softmax", [], {"axis": 1}),
        ],
        weights,
        [1, 3, SIZE, SIZE],
        "float32",
    )
    model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0))
    original = Original("RGB", "NCHW", SIZE, SIZE, "float32", MEANS, STDS)
    extended = extend(model, original)
    assert [k for k in kinds(extended) if k != "DequantizeLinear"][:5] == [
        "Transpose",
        "Cast",
        "Sub",
        "Mul",
        "QuantizeLinear",
    ]
    printed_difference.append(check(model, extended, original))
    swapped = Original("BGR", "NCHW", SIZE, SIZE, "float32", MEANS[::-1], STDS[::-1])
    with pytest.raises(ValueError, match="differ from the original's by"):
        check(model, extend(model, swapped), original)


def extended_by(tmp_path: Path, model: onnx.ModelProto, *options: str) -> int:
    from models.__main__ import main

    onnx.save(model, tmp_path / "original.onnx")
    files = ["--model", str(tmp_path / "original.onnx"), "--out", str(tmp_path / "extended.onnx")]
    return main(["extend", *files, *options])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_batch = classifier(3, "NCHW", "float32", softmax=False)
    open_batch.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    means, stds = (["--mean", *map(str, MEANS)], ["--std", *map(str, STDS)])
    assert extended_by(tmp_path, open_batch, *means, *stds, "--softmax") == 0
    assert "Transpose, Cast, Sub before the model; its scores differ from the original's by" in capsys.readouterr().out
    extended = onnx.load(tmp_path / "extended.onnx")
    assert [d.dim_value for d in extended.graph.output[0].type.tensor_type.shape.dim] == [1, 4]


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda: classifier(3, "NCHW", "float32", softmax=False), [], "add --softmax"),
        (lambda: classifier(3, "NCHW", "float32"), ["--softmax"], "leave --softmax away"),
        (lambda: classifier(3, "NCHW", "float32"), ["--colour", "GRAY"], "does not fit 3 channels"),
        (lambda: classifier(3, "NCHW", "float32"), ["--layout", "NHWC"], "say with --layout"),
        (lambda: classifier(3, "NCHW", "float32"), ["--size", "32", "32"], "give --size"),
        (lambda: classifier(3, "NCHW", "float32"), ["--mean", "1", "2"], "give one value or 3"),
        (lambda: classifier(3, "NCHW", "float32"), ["--std", "0"], "above 0"),
        (lambda: classifier(3, "NCHW", "uint8"), ["--mean", "0.5"], "its normalisation is inside"),
    ],
)
def test_a_mistake_gets_one_sentence(
    make: object, options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(make)
    assert extended_by(tmp_path, make(), *options) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "extended.onnx").exists()


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from models.__main__ import main

    (tmp_path / "a.onnx").write_bytes(b"no model at all")
    assert main(["extend", "--model", str(tmp_path / "a.onnx"), "--out", str(tmp_path / "b.onnx")]) == 1
    assert "is no ONNX model" in capsys.readouterr().err
