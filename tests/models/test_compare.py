"""Figures, reports and pictures of classifiers, and scores that are made to mean what they say."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from matplotlib import rcParams
from onnx import numpy_helper
from tiny_pictures import write_pictures

from edge.backends import BACKENDS, EngineSettings
from edge.bundle import load_bundle
from edge.engine import Engine
from models.__main__ import main
from models.fonts import use_fonts_for
from models.metrics import calibration_error, log_loss, reliability
from models.tables import markdown
from models.temperature import fit, tempered

GOOD, HOLE = "良品", "孔|洞"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "tiny", (GOOD, HOLE))


@pytest.fixture(scope="module")
def fresh(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    small = ["--network", "unet-classifier", "--width", "4", "--levels", "3", "--size", "32", "--threads", "1"]
    train = ["--epochs", "2", "--samples", "32", "--batch", "8", "--pass-label", GOOD]
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *small, *train]) == 0
    assert main(["export", "--run", str(folder / "run"), "--out", str(folder / "tiny")]) == 0
    for method in ("minmax", "nncf", "fp16"):
        command = ["quantize", "--model", str(folder / "tiny"), "--data", str(data), "--method", method]
        assert main([*command, "--count", "8", "--largest-loss", "0.9"]) == 0
    return folder / "tiny"


@pytest.fixture
def bundle(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "tiny"))


def test_calibration_of_scores_that_are_known() -> None:
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.35, 0.65]], np.float32)
    truth = np.array([0, 1, 1, 1])
    assert np.allclose(reliability(scores, truth), [(0.5, 0.65, 1.0), (0.5, 0.9, 0.5)])
    assert calibration_error(scores, truth) == pytest.approx(0.5 * 0.35 + 0.5 * 0.4)
    assert log_loss(scores, truth) == pytest.approx(-np.mean(np.log([0.9, 0.1, 0.65, 0.65])), abs=1e-5)
    assert log_loss(np.array([[1.0, 0.0]], np.float32), [1]) < 20


def test_the_temperature_that_was_put_in_is_found() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.5, (4000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (honest.cumsum(1) > rng.random((4000, 1))).argmax(1)
    boasting = tempered(honest.astype(np.float32), 1 / 2.5)
    fitted = fit(boasting, truth, np.arange(4000) // 2)
    assert fitted.value == pytest.approx(2.5, rel=0.05)
    assert fitted.after < 0.3 * fitted.before
    assert fitted.log_loss_after < fitted.log_loss_before
    assert (tempered(boasting, 2.5).argmax(1) == boasting.argmax(1)).all()


def test_what_no_temperature_follows_from() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    with pytest.raises(ValueError, match="two objects or more"):
        fit(scores, np.array([0, 0]), np.array([1, 1]))
    with pytest.raises(ValueError, match="every answer is right"):
        fit(scores, np.array([0, 1]), np.array([1, 2]))


def test_a_temperature_is_in_every_file_and_engine(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--model", str(bundle), "--data", str(data), "--split", "all"]
    before = {name: np.array(rows) for name, rows in load_bundle(bundle).manifest.golden.scores.items()}
    assert main([*command, "--temperature"]) == 0
    assert "on pictures that it was not fitted on" in capsys.readouterr().out
    manifest = load_bundle(bundle).manifest
    kept = manifest.provenance["temperature"]
    assert isinstance(kept, dict)
    for name, rows in manifest.golden.scores.items():
        wanted = tempered(before[name].astype(np.float32), kept["value"])
        assert np.abs(np.array(rows) - wanted).max() < 1e-3, name
    assert "model.int8.xml" in manifest.golden.scores
    for engine in BACKENDS:
        for precision in load_bundle(bundle).precisions_for(engine):
            Engine(load_bundle(bundle), EngineSettings(backend=engine, device="cpu", precision=precision))
    for precision in ("fp32", "int8", "fp16"):
        nodes = onnx.load(load_bundle(bundle).file(precision, "onnxruntime")).graph.node
        assert [node.name for node in nodes].count("temperature") == 1
    assert main([*command, "--temperature"]) == 0
    again = load_bundle(bundle).manifest.provenance["temperature"]
    assert isinstance(again, dict)
    graph = onnx.load(bundle / "model.onnx").graph
    assert [node.name for node in graph.node].count("temperature") == 1, "a second one goes into the first"
    factor = next(numpy_helper.to_array(one) for one in graph.initializer if one.name == "temperature_factor")
    assert float(factor) == pytest.approx(1 / again["value"], rel=1e-3)


def test_reports_in_any_script(bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    assert main(["evaluate", "--model", str(bundle), "--data", str(data), "--out", str(out)]) == 0
    told = json.loads((out / "evaluate.json").read_text(encoding="utf-8"))
    assert told["labels"] == [GOOD, HOLE]
    assert set(told["results"]) == {f"{p} {b}" for p in ("fp32", "int8", "fp16") for b in BACKENDS}
    assert GOOD in (out / "evaluate.json").read_text(encoding="utf-8"), "not as \\u escapes"
    assert HOLE in (out / "evaluate.md").read_text(encoding="utf-8")
    picture = cv2.imread(str(out / "evaluate.png"))
    assert picture is not None
    assert picture.shape[1] > 1000
    capsys.readouterr()
    assert main(["compare", str(bundle), str(bundle), "--data", str(data), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert len(document["rows"]) == 12
    first, *_, last = document["rows"]
    assert (first["smaller"], first["faster"], first["change"]) == (1, 1, 0)
    assert last["against"] == "tiny fp32 openvino"
    assert cv2.imread(str(out / "compare.png")) is not None
    assert "| tiny int8 onnxruntime |" in (out / "compare.md").read_text(encoding="utf-8")


def test_bundles_that_know_other_labels(
    bundle: Path, data: Path, surface_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(bundle), str(surface_demo), "--data", str(data)]) == 1
    assert "do not know the same labels" in capsys.readouterr().err


def test_a_table_keeps_what_a_label_has() -> None:
    assert markdown(["label", "n"], [[HOLE, 3], ["a\nb", 12]]).splitlines() == [
        "| label | n |",
        "| --- | ---: |",
        "| 孔\\|洞 | 3 |",
        "| a b | 12 |",
    ]


def test_letters_come_from_whatever_font_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    use_fonts_for(["plain", "Grüße", "ошибка"])
    assert rcParams["font.family"] == ["DejaVu Sans"]
    use_fonts_for([GOOD, HOLE])
    if capsys.readouterr().err:
        pytest.skip("no installed font has Chinese letters; ./install.sh test installs one")
    assert len(rcParams["font.family"]) > 1


def test_a_letter_that_no_font_has_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    use_fonts_for(["ok \U00016a40"])
    assert "install fonts-noto-core" in capsys.readouterr().err
