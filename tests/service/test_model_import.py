"""`edgecls model import`: files as elsewhere makes them give the scores of their own framework."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

pytest.importorskip("torch")
import elsewhere
import torch
from elsewhere import LABELS, MEAN, SIZE, STD, Small

from edge.backends import BackendName, EngineSettings
from edge.bundle import load_bundle
from edge.engine import Engine
from edge.preprocess import Preprocessor
from edge.sources.images import read_image
from service.cli import main


def make(file: Path, bundle: Path, *options: object) -> int:
    return main(["model", "import", str(file), "--output", str(bundle), *map(str, options)])


def scores(bundle: Path, picture: Path, backend: BackendName = "onnxruntime", precision: Any = "auto") -> Any:
    loaded = load_bundle(bundle)
    slot = Engine(loaded, EngineSettings(backend, "cpu", precision)).slot()
    Preprocessor(loaded.manifest.input.spec, slot.input)(read_image(picture))
    slot.infer()
    return slot.scores[0].copy()


@pytest.fixture
def picture(tmp_path: Path, clip: Path) -> Path:
    return elsewhere.photograph(clip, tmp_path / "picture.png")


def the_same(bundle: Path, picture: Path, wanted: Any) -> None:
    for backend in ("onnxruntime", "openvino"):
        assert np.abs(scores(bundle, picture, backend) - wanted).max() < 1e-4, backend
    assert np.ptp(wanted) > 0.05, "a picture that tells nothing"


def test_ultralytics_tells_everything(tmp_path: Path, picture: Path) -> None:
    bundle = tmp_path / "bundle"
    assert make(elsewhere.ultralytics(tmp_path / "best.onnx"), bundle) == 0
    manifest = load_bundle(bundle).manifest
    assert tuple(manifest.labels) == LABELS
    assert (manifest.pass_label, manifest.input.resize) == ("ok", "crop")
    the_same(bundle, picture, elsewhere.expected(Small(softmax=True), picture, (0, 0, 0), (1, 1, 1)))


def test_ultralytics_with_an_open_size_takes_imgsz(tmp_path: Path, picture: Path) -> None:
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch"}}
    file = elsewhere.ultralytics(tmp_path / "best.onnx", dynamic_axes=axes)
    assert make(file, tmp_path / "bundle") == 0
    the_same(tmp_path / "bundle", picture, elsewhere.expected(Small(softmax=True), picture, (0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize("info", [elsewhere.model_info(), elsewhere.geti_info()], ids=["Model API", "Geti"])
def test_model_info_in_onnx(info: dict[str, str], tmp_path: Path, picture: Path) -> None:
    file = elsewhere.with_model_info(elsewhere.export(Small(), tmp_path / "model.onnx"), info)
    assert make(file, tmp_path / "bundle") == 0
    labels = load_bundle(tmp_path / "bundle").labels
    assert labels == (LABELS if "label_info" in info else ("ok", "划痕", "deep_dent"))
    the_same(tmp_path / "bundle", picture, elsewhere.expected(Small(), picture, MEAN, STD))


@pytest.mark.parametrize("info", [elsewhere.model_info(), elsewhere.geti_info()], ids=["Model API", "Geti"])
def test_model_info_in_openvinos_own_format(info: dict[str, str], tmp_path: Path, picture: Path) -> None:
    file = elsewhere.intermediate(elsewhere.export(Small(), tmp_path / "model.onnx"), tmp_path / "model.xml", info)
    assert make(file, tmp_path / "bundle") == 0
    wanted = elsewhere.expected(Small(), picture, MEAN, STD)
    assert np.abs(scores(tmp_path / "bundle", picture, "openvino") - wanted).max() < 1e-4
    assert np.abs(scores(tmp_path / "bundle", picture, "auto") - wanted).max() < 1e-4  # type: ignore[arg-type]  # of a plan


def test_model_api_takes_what_it_is_given_unless_it_is_reversed(tmp_path: Path, picture: Path) -> None:
    info = elsewhere.model_info(reverse_input_channels="False", resize_type="fit_to_window_letterbox", pad_value="9")
    file = elsewhere.with_model_info(elsewhere.export(Small(), tmp_path / "model.onnx"), info)
    assert make(file, tmp_path / "bundle") == 0
    section = load_bundle(tmp_path / "bundle").manifest.input
    assert (section.resize, section.fill) == ("letterbox", 9)
    turned = tmp_path / "turned.png"
    cv2.imwrite(str(turned), read_image(picture)[..., ::-1])
    the_same(tmp_path / "bundle", picture, elsewhere.expected(Small(), turned, MEAN, STD))


@pytest.mark.slow
def test_torchs_exporter_of_today_with_a_thousand_labels(tmp_path: Path, picture: Path, capsys: Any) -> None:
    file, bundle = tmp_path / "resnet.onnx", tmp_path / "bundle"
    network = Small(1000)
    torch.onnx.export(network, (torch.zeros(1, 3, SIZE, SIZE),), str(file), verbose=False)
    assert (tmp_path / "resnet.onnx.data").is_file(), "its weights lie in a file of their own"
    assert make(file, bundle) == 2
    missing = capsys.readouterr().err
    assert all(flag in missing for flag in ("--labels, all 1000", "--pass-label", "--mean", "--std"))
    assert "--input" not in missing
    names = tmp_path / "labels.txt"
    names.write_text("crane\n" + "\n".join(f"kind {number}" for number in range(998)) + "\ncrane\n", encoding="utf-8")
    options = ("--labels", names, "--pass-label", "kind 3", "--mean", "imagenet", "--std", "imagenet", "--json")
    capsys.readouterr()
    assert make(file, bundle, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labels"][0] == "crane (0)"
    assert told["labels"][-1] == "crane (999)"
    wanted = elsewhere.expected(network, picture, MEAN, STD)
    assert np.abs(scores(bundle, picture) - wanted).max() < 1e-4
    as_if_of_torchvision(file)
    assert make(file, tmp_path / "other", "--labels", names, "--pass-label", "kind 3") == 0
    assert np.abs(scores(tmp_path / "other", picture) - wanted).max() < 1e-4


def as_if_of_torchvision(file: Path) -> None:
    """The class that torch notes at each node, which must be there, changed to one of torchvision."""
    model = onnx.load(file, load_external_data=False)
    kept = [e for node in model.graph.node for e in node.metadata_props if e.key == "pkg.torch.onnx.class_hierarchy"]
    assert any("elsewhere.Small" in entry.value for entry in kept), "torch does not note classes any more"
    for entry in kept:
        entry.value = entry.value.replace("elsewhere.Small", "torchvision.models.resnet.ResNet")
    onnx.save(model, file)


def test_a_plain_file_with_a_few_flags(tmp_path: Path, picture: Path) -> None:
    axes = {"x": {0: "n", 2: "h", 3: "w"}}
    file = elsewhere.export(Small(), tmp_path / "plain.onnx", input_names=["x"], dynamic_axes=axes, opset_version=11)
    options = ("--labels", "a,b,好", "--pass-label", "好", "--mean", "0.5", "--std", "127.5/255")
    assert make(file, tmp_path / "bundle", *options) == 2
    assert make(file, tmp_path / "bundle", *options, "--input", f"{SIZE}x{SIZE}") == 0
    the_same(tmp_path / "bundle", picture, elsewhere.expected(Small(), picture, (0.5,) * 3, (0.5,) * 3))


def test_a_file_in_half_precision_stays_in_it(tmp_path: Path, picture: Path) -> None:
    file = tmp_path / "half.onnx"
    example = torch.zeros(1, 3, SIZE, SIZE).half()
    torch.onnx.export(Small().half(), (example,), str(file), dynamo=False)
    assert make(file, tmp_path / "bundle", "--labels", "ok,b,c", "--mean", "imagenet", "--std", "imagenet") == 0
    assert load_bundle(tmp_path / "bundle").precisions == ("fp16",)
    wanted = elsewhere.expected(Small(), picture, MEAN, STD)
    assert np.abs(scores(tmp_path / "bundle", picture) - wanted).max() < 0.05


def test_pictures_make_int8(tmp_path: Path, clip: Path, capsys: Any) -> None:
    pictures = tmp_path / "pictures/部件"
    pictures.mkdir(parents=True)
    for number in range(1, 25):
        elsewhere.photograph(clip, pictures / f"{number}.png", number * 7, 64)
    assert make(elsewhere.ultralytics(tmp_path / "best.onnx"), tmp_path / "b", "--images", tmp_path / "pictures") == 0
    bundle = load_bundle(tmp_path / "b")
    assert bundle.precisions == ("fp32", "int8")
    figures: Any = bundle.manifest.metrics["import"]
    assert figures["int8 onnxruntime"]["pictures"] == 5
    assert figures["int8 onnxruntime"]["not_calibrated_with"] is True
    assert figures["int8 onnxruntime"]["largest_difference"] < 0.15
    assert "times smaller" in capsys.readouterr().out
    elsewhere.photograph(clip, tmp_path / "one.png", 7)  # the same frame as the first golden input's
    assert main(["model", "verify", str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert "int8 on openvino: scores as they should be" in told
    assert main(["model", "show", str(tmp_path / "b")]) == 0
    assert "划痕" in capsys.readouterr().out


def test_nothing_but_the_bundle_is_left(tmp_path: Path) -> None:
    file = elsewhere.ultralytics(tmp_path / "best.onnx")
    assert make(file, tmp_path / "bundle") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.onnx", "bundle"]
    shutil.rmtree(tmp_path / "bundle")
    assert (tmp_path / "best.onnx").stat().st_size > 0
