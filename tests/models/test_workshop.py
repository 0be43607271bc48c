"""The workshop from a folder of pictures to a bundle that the daemon takes, and what it says to bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from edge.bundle import load_bundle
from models.__main__ import main
from models.dataset import DatasetError, read_dataset
from models.metrics import accuracy, balanced_accuracy, confusion, recalls, table

SEED = 1_000_077  # held out: below 1,000,000 is for training


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from models.synth_clip import write_dataset

    folder = tmp_path_factory.mktemp("parts") / "data"
    write_dataset(folder, 120, SEED)
    return folder


@pytest.fixture(scope="module")
def run_folder(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("run") / "run"
    command = ["train", "--data", str(parts), "--out", str(out), "--size", "64", "--colour", "BGR", "--epochs", "2"]
    assert main([*command, "--samples", "64", "--threads", "1"]) == 0
    return out


@pytest.fixture(scope="module")
def bundle(run_folder: Path, parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    assert main(["export", "--run", str(run_folder), "--out", str(out), "--version", "0.1.0"]) == 0
    assert main(["quantize", "--model", str(out), "--data", str(parts), "--count", "24"]) == 0
    return out


def test_training_leaves_a_checkpoint_figures_and_a_picture(run_folder: Path) -> None:
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert metrics["labels"][0] == "ok"
    assert len(metrics["history"]) == 2
    assert np.sum(metrics["confusion"]) == 24
    curves = cv2.imread(str(run_folder / "curves.png"))
    assert curves is not None
    assert curves.shape[1] > 800
    assert (run_folder / "checkpoint.pt").stat().st_size > 1_000_000


def test_runs_are_summed_up(run_folder: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crossvalidate", str(run_folder), str(run_folder), "--keep", str(bundle)]) == 0
    assert "all 48 pictures" in capsys.readouterr().out
    kept = load_bundle(bundle).manifest.metrics["cross_validation"]
    assert isinstance(kept, dict)
    assert len(kept["folds"]) == 2
    assert np.sum(kept["confusion"]) == 48


def test_training_with_the_same_seed_is_the_same_training(run_folder: Path, parts: Path, tmp_path: Path) -> None:
    import torch

    command = [
        "train",
        "--data",
        str(parts),
        "--out",
        str(tmp_path),
        "--size",
        "64",
        "--colour",
        "BGR",
        "--epochs",
        "2",
    ]
    assert main([*command, "--samples", "64", "--threads", "1"]) == 0
    first, again = (torch.load(folder / "checkpoint.pt")["state"] for folder in (run_folder, tmp_path))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_bundle_is_one_that_the_daemon_takes(bundle: Path) -> None:
    manifest = load_bundle(bundle).manifest
    assert (manifest.name, manifest.version, manifest.pass_label) == ("tiny", "0.1.0", "ok")
    assert [f.precision for f in manifest.files] == ["fp32", "int8"]
    sizes = [(bundle / f.path).stat().st_size for f in manifest.files]
    assert sizes[0] / sizes[1] > 3.5


def test_int8_is_qdq_and_takes_uint8_pictures(bundle: Path) -> None:
    import onnx

    model = onnx.load(bundle / "model.int8.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds
    image = model.graph.input[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in image.shape.dim] == [1, 64, 64, 3]


def test_evaluate_measures_every_precision_on_every_backend(
    bundle: Path, parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--model", str(bundle), "--data", str(parts), "--json", "--keep"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert set(results) == {f"{p} {b}" for p in ("fp32", "int8") for b in ("onnxruntime", "openvino")}
    assert all(np.sum(result["confusion"]) == 24 for result in results.values())
    assert results["fp32 onnxruntime"]["confusion"] == results["fp32 openvino"]["confusion"]
    assert load_bundle(bundle).manifest.metrics["val"] == results


def test_quantizing_again_replaces_the_model(bundle: Path, parts: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "tiny"))
    assert main(["quantize", "--model", str(copy), "--data", str(parts), "--count", "8", "--method", "entropy"]) == 0
    assert [f.precision for f in load_bundle(copy).manifest.files] == ["fp32", "int8"]


@pytest.mark.parametrize("network", ["unet-classifier", "resnet18", "mobilenetv3-small"])
def test_any_classifier_of_the_zoo_is_trained_exported_and_quantised(
    network: str, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    settings = {"unet-classifier": ["--width", "4", "--levels", "3", "--skips", "1"], "resnet18": ["--width", "8"]}
    train = ["train", "--data", str(parts), "--out", str(run), "--network", network, *settings.get(network, [])]
    train += ["--size", "64", "--colour", "BGR", "--epochs", "1", "--samples", "16", "--batch", "8", "--threads", "1"]
    assert main(train) == 0
    assert main([*train, "--start", str(run)]) == 0
    assert main(["export", "--run", str(run), "--out", str(bundle), "--data", str(parts), "--count", "4"]) == 0
    assert main(["quantize", "--model", str(bundle), "--data", str(parts), "--count", "8"]) == 0
    assert [f.precision for f in load_bundle(bundle).manifest.files] == ["fp32", "int8"]
    assert "on 4 photographs and 6 rendered pictures" in capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    assert main([str(word) for word in command]) == 1
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_bad_input_gets_one_sentence(
    parts: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*command: object) -> str:
        return complaint(capsys, *command)

    assert "is not a folder" in said("train", "--data", tmp_path / "none", "--out", tmp_path / "r")
    assert "takes a multiple of 32" in said("train", "--data", parts, "--out", tmp_path / "r", "--size", 100)
    assert "checkpoint.pt does not exist" in said("export", "--run", tmp_path, "--out", tmp_path / "b")
    assert "has no model.json" in said("quantize", "--model", tmp_path, "--data", parts)
    one = tmp_path / "one/ok"
    one.mkdir(parents=True)
    cv2.imwrite(str(one / "a.png"), np.zeros((64, 64, 3), np.uint8))
    assert "it takes two or more" in said("train", "--data", tmp_path / "one", "--out", tmp_path / "r")
    other = tmp_path / "one/dent"
    other.mkdir()
    cv2.imwrite(str(other / "b.png"), np.zeros((64, 64, 3), np.uint8))
    cv2.imwrite(str(other / "c.png"), np.zeros((64, 64, 3), np.uint8))
    for command in ("train", "train-segmenter"):
        assert "has a single picture of ok: a label takes two or more" in said(
            command, "--data", tmp_path / "one", "--out", tmp_path / "r"
        )
    (other / "c.png").unlink()
    (other / "b.png").write_bytes(b"broken")
    assert "does not know: dent" in said("evaluate", "--model", bundle, "--data", tmp_path / "one", "--split", "all")
    assert not (tmp_path / "b").exists(), "a half-written bundle was left behind"


def test_help_does_not_load_torch() -> None:
    code = "import sys, models.__main__ as m\ntry: m.main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.endswith("False\n")


def test_folders_are_enough(tmp_path: Path) -> None:
    for label in ("good", "bent"):
        (tmp_path / label).mkdir()
        for number in range(10):
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("good", "bent")
    assert len(dataset.split("train")) + len(dataset.split("val")) == len(dataset.split("all")) == 20
    with pytest.raises(DatasetError, match="name the good one with --pass-label"):
        read_dataset(tmp_path, "perfect")


def test_tiles_never_cross_the_split(tiles: Path) -> None:
    dataset = read_dataset(tiles)
    assert dataset.labels[0] == "free"
    for fold in range(5):
        training, held_out = dataset.fold(fold)
        assert not {p.tile for p in training} & {p.tile for p in held_out}
        assert len(training) + len(held_out) == 1019
    assert [p.image for p in dataset.fold(0)[1]] == [p.image for p in dataset.split("val")]


def test_metrics() -> None:
    matrix = confusion([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], 3)
    assert matrix.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert recalls(matrix) == [0.75, 0.5, None]
    assert balanced_accuracy(matrix) == pytest.approx(0.625)
    assert accuracy(matrix) == pytest.approx(4 / 6)
    assert "0.750" in table(matrix, ("ok", "dent", "hole"))
