"""`edgecls model import`: what cannot be imported gets one sentence, and nothing is left of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")
import elsewhere
from elsewhere import SIZE, Small

from service.cli import main

Break = Callable[[Path], None]
FLAGS = ("--labels", "ok,b,c", "--mean", "0.5", "--std", "0.5")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A plain file, which the flags make whole."""
    return elsewhere.export(Small(), tmp_path_factory.mktemp("good") / "good.onnx", input_names=["x"]).read_bytes()


@pytest.fixture
def file(good: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(good)
    return path


def refused(file: Path, capsys: Any, *options: object, status: int = 1) -> str:
    """The sentence; nothing but what was there before may be there after."""
    before = sorted(file.parent.rglob("*"))
    output = file.parent / "bundle"
    given = options if "--output" in options else ("--output", output, *options)
    assert main(["model", "import", str(file), *map(str, given)]) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1, told.err
    assert sorted(file.parent.rglob("*")) == before
    return str(told.err)


def edited(change: Callable[[onnx.ModelProto], object]) -> Break:
    def edit(path: Path) -> None:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)

    return edit


def add_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("size", onnx.TensorProto.FLOAT, [1, 2]))


def add_custom(model: onnx.ModelProto) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.example", "DeformConv"


def make_nan(model: onnx.ModelProto) -> None:
    weight = next(w for w in model.graph.initializer if len(w.dims) == 4)
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))


def make_unknown(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Convolute"


def open_sides(model: onnx.ModelProto) -> None:
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name


def end_in_sigmoid(model: onnx.ModelProto) -> None:
    output = model.graph.output[0].name
    model.graph.node.append(onnx.helper.make_node("Sigmoid", [output], ["each"]))
    model.graph.output[0].name = "each"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "options", "words"),
    [
        (lambda path: path.write_bytes(b"no model at all" * 9), FLAGS, "it is no ONNX file"),
        (lambda path: path.write_bytes(b""), FLAGS, "it is no ONNX file"),
        (lambda path: path.write_bytes(b"PK\3\4 a checkpoint"), FLAGS, "export the model to ONNX first"),
        (cut, FLAGS, "it is no ONNX file, or only the first part of one"),
        (edited(add_input), FLAGS, "it has 2 inputs (x, size), and a classifier has one"),
        (edited(add_custom), FLAGS, "it has custom operators (DeformConv of com.example)"),
        (edited(make_unknown), FLAGS, "it has operators that ONNX does not know (Convolute)"),
        (edited(make_nan), FLAGS, "have values that are no numbers (NaN)"),
        (edited(end_in_sigmoid), FLAGS, "it ends in a Sigmoid"),
        (None, ("--labels", "ok,b", *FLAGS[2:]), "it gives 3 scores, and there are 2 labels"),
        (None, ("--labels", "ok,b,c,d", *FLAGS[2:]), "it gives 3 scores, and there are 4 labels"),
        (None, (*FLAGS, "--pass-label", "fine"), "--pass-label fine is not one of the 3 labels: ok, b, c"),
        (None, (*FLAGS, "--input", "64x64"), "its input is fixed at 32x32"),
        (None, (*FLAGS, "--input", "big"), "--input big is no size"),
        (None, (*FLAGS, "--layout", "NHWC"), "so that NHWC has not 1 or 3 channels"),
        (None, (*FLAGS, "--colour", "GRAY"), "which does not fit the colour GRAY"),
        (None, (*FLAGS, "--mean", "123.675"), "divided by 255"),
        (None, (*FLAGS, "--mean", "0.5,0.5"), "mean has 2 values, and its input 3 channels"),
        (None, (*FLAGS, "--std", "0"), "--std 0: give values between 0 and 1"),
        (None, (*FLAGS, "--std", "wide"), "--std wide is no number"),
        (None, ("--labels", "none.txt", *FLAGS[2:]), "--labels none.txt is no file, and no list"),
        (None, (*FLAGS, "--name", "Big Model"), "--name Big Model: give small letters"),
        (None, (*FLAGS, "--images", "/nowhere"), "--images /nowhere is no folder"),
    ],
)
def test_one_sentence(damage: Break | None, options: tuple[str, ...], words: str, file: Path, capsys: Any) -> None:
    if damage is not None:
        damage(file)
    assert words in refused(file, capsys, *options)


def test_every_missing_flag_is_named_at_once(file: Path, capsys: Any) -> None:
    edited(open_sides)(file)
    told = refused(file, capsys, status=2)
    for flag in ("--labels, all 3", "--pass-label", "--input WxH", "--mean", "--std"):
        assert flag in told
    assert "--colour" not in told


def test_weights_beside_the_file_that_are_missing_or_short(file: Path, capsys: Any) -> None:
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="model.onnx.data", size_threshold=64)
    beside = file.with_name("model.onnx.data")
    beside.write_bytes(beside.read_bytes()[:-200])
    assert "its weights lie in model.onnx.data, which is shorter than it should be" in refused(file, capsys, *FLAGS)
    beside.unlink()
    assert "its weights lie in model.onnx.data, which is missing" in refused(file, capsys, *FLAGS)


def test_an_ultralytics_file_for_detection(tmp_path: Path, capsys: Any) -> None:
    file = elsewhere.ultralytics(tmp_path / "best.onnx", task="detect")
    assert "an Ultralytics model with task=detect" in refused(file, capsys)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model_type": "ssd", "task_type": "detection"}, "a Model API model of the type ssd (detection)"),
        ({"multilabel": "True"}, "it is multilabel"),
        ({"hierarchical": "True"}, "it is hierarchical"),
        ({"mean_values": "a b c"}, "its mean_values is a b c, which are no numbers"),
    ],
)
def test_model_info_of_no_classifier(more: dict[str, str], words: str, file: Path, capsys: Any) -> None:
    elsewhere.with_model_info(file, elsewhere.model_info(**more))
    assert words in refused(file, capsys)


def test_pictures_that_are_none(file: Path, capsys: Any, clip: Path) -> None:
    folder = file.parent / "pictures"
    folder.mkdir()
    assert "pictures has no pictures" in refused(file, capsys, *FLAGS, "--images", folder)
    elsewhere.photograph(clip, folder / "a.png", 3, SIZE)
    elsewhere.photograph(clip, folder / "b.png", 4, SIZE // 5)
    assert "b.png is 6x6, and the model looks at 32x32" in refused(file, capsys, *FLAGS, "--images", folder)
    (folder / "b.png").write_bytes(b"\x89PNG")
    assert "b.png is damaged or not an image" in refused(file, capsys, *FLAGS, "--images", folder)


def test_a_folder_that_is_there_stays_as_it_is(file: Path, capsys: Any) -> None:
    there = file.parent / "bundle"
    there.mkdir()
    assert "bundle is there already: remove it" in refused(file, capsys, *FLAGS)
    assert "does not exist: create it" in refused(file, capsys, *FLAGS, "--output", file.parent / "no/bundle")


def test_a_file_that_is_not_there(tmp_path: Path, capsys: Any) -> None:
    assert "it cannot be read (No such file or directory)" in refused(tmp_path / "none.onnx", capsys, *FLAGS)


def test_openvinos_own_format_without_its_weights_or_cut_short(file: Path, tmp_path: Path, capsys: Any) -> None:
    source = elsewhere.intermediate(file, tmp_path / "model.xml", elsewhere.model_info())
    text = source.read_text(encoding="utf-8")
    source.write_text(text[: len(text) // 2], encoding="utf-8")
    assert "it is no OpenVINO model that can be read" in refused(source, capsys)
    source.with_suffix(".bin").unlink()
    assert "its weights, model.bin, are missing" in refused(source, capsys)
