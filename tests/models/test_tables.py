"""The tables over shapes and forms: every cell is there, what they say is the same model, labels in any script."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_networks import tiny

from models.__main__ import main
from models.checkpoint import Checkpoint, save_checkpoint
from models.speed_cell import measure_cell
from models.speed_forms import FORMS, Forms, Shape

NETWORK = "mobilenetv3-small"
LABELS = ("良品", "划痕", "凹陷", "dent")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def test_every_form_on_every_engine_over_every_shape(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["speed-table", "--out", str(folder), "--network", NETWORK, "--seconds", "0.01"]
    command += ["--sizes", "32", "64", "--pictures", "1", "3"]
    assert main([*command, "--stop-after", "0"]) == 0
    assert "44 of 44 figures are missing: run it again to go on" in capsys.readouterr().out
    assert main(command) == 0
    cells = json.loads((folder / "speed.json").read_text())["cells"]
    wanted = [
        f"{NETWORK} {pictures}x{size} {form} {engine}"
        for size in (32, 64)
        for pictures in (1, 3)
        for form in FORMS
        for engine in (["torch"] if form == "pytorch" else ["onnxruntime", "openvino"])
    ]
    assert list(cells) == wanted
    for key, cell in cells.items():
        assert cell["ms"] > 0
        assert cell["memory_mib"] > 0
        original = np.array(cells[f"{' '.join(key.split(' ')[:2])} pytorch torch"]["scores"])
        limit = 0.9 if " int8 " in key else 1e-4
        assert np.abs(np.array(cell["scores"]) - original).max() < limit, key
    assert np.ptp([cell["scores"][0] for cell in cells.values()], 0).max() > 0.05, (
        "scores that never change say nothing"
    )
    text = (folder / "speed.md").read_text(encoding="utf-8")
    assert "## mobilenetv3-small, 3 pictures at once: ms per picture" in text
    assert "ONNX Runtime: dynamic, simplified" in text
    assert cv2.imread(str(folder / f"speed-{NETWORK}.png")) is not None
    before = (folder / "speed.json").read_bytes()
    assert main(command) == 0
    assert (folder / "speed.json").read_bytes() == before, "what is there was measured again"


def test_larger_batches_take_more_memory(folder: Path) -> None:
    forms = Forms(folder / "models" / NETWORK, NETWORK)
    few, many = (measure_cell(forms, "dynamic", "onnxruntime", Shape(n, 128), 0.01) for n in (1, 16))
    assert many.memory_mib > few.memory_mib + 10


def test_what_does_not_work_is_named(tmp_path: Path) -> None:
    forms = Forms(tmp_path, NETWORK)
    forms.file("fixed", Shape(1, 32)).write_bytes(b"no model")
    with pytest.raises(RuntimeError, match="mobilenetv3-small fixed on onnxruntime with 1x32: "):
        measure_cell(forms, "fixed", "onnxruntime", Shape(1, 32), 0.01)


def test_openvino_in_three_precisions(folder: Path) -> None:
    command = ["openvino-table", "--out", str(folder), "--network", NETWORK, "--labels", "4", "--seconds", "0.02"]
    assert main(command) == 0
    rows = {row["name"]: row for row in json.loads((folder / "openvino.json").read_text())["rows"]}
    assert list(rows) == ["PyTorch", "OpenVINO FP32", "OpenVINO FP16", "OpenVINO INT8"]
    assert rows["OpenVINO FP32"]["difference"] < 1e-4
    assert rows["PyTorch"]["difference"] == 0
    whole = rows["OpenVINO FP32"]["bytes"]
    assert rows["OpenVINO FP16"]["bytes"] < 0.6 * whole
    assert rows["OpenVINO INT8"]["bytes"] < 0.5 * whole
    assert all(row["latency_ms"] > 0 and row["fps"] > 0 for row in rows.values())


def labelled(path: Path) -> Path:
    for number, label in enumerate(LABELS):
        (path / label).mkdir(parents=True)
        for copy in range(8):
            picture = np.random.default_rng(8 * number + copy).integers(0, 256, (40, 50, 3), np.uint8)
            picture[:, : 12 * number] //= 3
            cv2.imwrite(str(path / label / f"{copy}.png"), picture)
    return path


def test_the_best_scores_of_each_picture_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = labelled(tmp_path / "data"), tmp_path / "out"
    network = tiny("resnet18", labels=LABELS)
    torch.manual_seed(1)
    module = network.make()
    torch.nn.init.normal_(module.fc.weight)
    save_checkpoint(tmp_path / "run", Checkpoint(network, module))
    command = ["precision-table", "--run", str(tmp_path / "run"), "--data", str(data), "--show", "5"]
    assert main([*command, "--split", "all", "--count", "8", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "| picture | truth | PyTorch | ONNX | simplified | INT8 |" in said.out
    found = json.loads((out / "precision.json").read_text(encoding="utf-8"))
    assert found["labels"] == list(LABELS)
    assert found["largest_difference"]["ONNX"] < 1e-4
    assert found["largest_difference"]["simplified"] < 1e-4
    assert len(found["pictures"]) == 32
    for row in found["pictures"]:
        assert [label for label, _ in row["best"]["ONNX"]] == [label for label, _ in row["best"]["PyTorch"]]
        assert len(row["best"]["INT8"]) == 3
    text = (out / "precision.md").read_text(encoding="utf-8")
    assert sum(f"| {label} |" in text for label in LABELS) == 4, "the labels take turns"
    chart = cv2.imread(str(out / "precision.png"))
    assert chart is not None
    assert chart.shape[1] > 1000


def test_a_run_of_a_segmenter_has_no_such_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tiny("unet-segmenter")
    save_checkpoint(tmp_path / "run", Checkpoint(network, network.make()))
    assert main(["precision-table", "--run", str(tmp_path / "run"), "--data", str(tmp_path)]) == 1
    assert "holds a unet-segmenter: this table is of classifiers" in capsys.readouterr().err
