"""Smaller models of a bundle: INT8 in every way, FP16, accuracy control; and what is said to bad input."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from conftest import ROOT
from onnx import TensorProto, numpy_helper
from tiny_pictures import write_pictures

from edge.backends import EngineSettings
from edge.bundle import BackendName, Precision, load_bundle
from edge.conversion.quantise import quantise
from edge.engine import Engine
from models.__main__ import main
from models.bundle_writer import edited, read_manifest, write_manifest
from models.checkpoint import Checkpoint
from models.export import export_onnx
from models.forms import around
from models.zoo import describe

BOTH: tuple[BackendName, ...] = ("onnxruntime", "openvino")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def fresh(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    small = ["--network", "unet-classifier", "--width", "8", "--levels", "3", "--size", "32", "--threads", "1"]
    train = ["--epochs", "4", "--samples", "64", "--batch", "8", "--learning-rate", "0.01"]
    assert main(["train", "--data", str(data), "--out", str(folder / "run"), *small, *train]) == 0
    assert main(["export", "--run", str(folder / "run"), "--out", str(folder / "tiny")]) == 0
    return folder / "tiny"


@pytest.fixture
def bundle(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "bundles/tiny"))


def quantize(bundle: Path, data: Path, *options: object) -> int:
    return main(["quantize", "--model", str(bundle), "--data", str(data), "--count", "16", *map(str, options)])


def runs(bundle: Path, precision: Precision, backend: BackendName) -> str:
    Engine(load_bundle(bundle), EngineSettings(backend=backend, device="cpu", precision=precision))
    return load_bundle(bundle).file(precision, backend).name


def test_what_comes_before_the_first_layer_and_what_is_summed_behind_the_last_stay_in_floating_point(
    tmp_path: Path,
) -> None:
    network = describe("map-net", ("ok", "dent"), (64, 32), "GRAY", {"width": 2}, "letterbox")
    pictures = np.random.default_rng(1).integers(0, 256, (4, *network.spec.shape[1:]), np.uint8)
    export_onnx(Checkpoint(network, network.make().eval()), tmp_path / "fp32.onnx", pictures)
    quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", list(pictures[:, None]), "minmax", also=["Concat"])
    nodes = onnx.load(tmp_path / "int8.onnx").graph.node
    made_by = {output: node for node in nodes for output in node.output}

    def before(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        makers = [made_by[name] for name in node.input if name in made_by]
        return makers + [one for maker in makers for one in before(maker)]

    first = next(node for node in nodes if node.op_type == "Conv")
    light = [node for node in before(made_by[first.input[0]]) if node.op_type in {"Resize", "Concat"}]
    assert {node.op_type for node in light} == {"Resize", "Concat"}
    assert not [node for node in light if "DequantizeLinear" in {maker.op_type for maker in before(node)[:1]}]
    joined = [node for node in nodes if node.op_type == "Concat"][-1]
    assert "DequantizeLinear" not in {made_by[name].op_type for name in joined.input}
    area = next(made_by[name] for name in joined.input if made_by[name].op_type == "Log")
    assert [node.op_type for node in before(area)[:2]] == ["Add", "ReduceSum"], "a sum in 8 bits has steps of its own"


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_static_int8_is_one_file_for_both_engines(
    method: str, bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(bundle, data, "--method", method, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in told["rows"]] == [
        f"tiny {precision} {engine}" for precision in ("fp32", "int8") for engine in BOTH
    ]
    for row in told["rows"][2:]:
        assert row["against"] == f"tiny fp32 {row['backend']}"
        assert row["smaller"] > 1.5
    assert {runs(bundle, "int8", engine) for engine in BOTH} == {"model.int8.onnx"}
    quantisation = load_bundle(bundle).manifest.provenance["quantisation"]
    assert quantisation == {"method": method, "pictures": 16, "format": "QDQ"}
    nodes = onnx.load(bundle / "model.int8.onnx").graph.node
    joined = {node.output[0] for node in nodes if node.op_type == "Concat"}
    assert joined
    after = {node.op_type for node in nodes if joined & set(node.input)}
    assert after == {"QuantizeLinear"}, "a skip stays in INT8"


def test_dynamic_int8_needs_no_ranges(bundle: Path, data: Path) -> None:
    assert quantize(bundle, data, "--method", "dynamic") == 0
    kinds = {node.op_type for node in onnx.load(bundle / "model.int8.onnx").graph.node}
    assert {"DynamicQuantizeLinear", "ConvInteger"} <= kinds
    assert runs(bundle, "int8", "onnxruntime") == "model.int8.onnx"


def test_fp16_leaves_what_is_around_the_layers_in_fp32(bundle: Path, data: Path) -> None:
    before = {node.name for node in onnx.load(bundle / "model.onnx").graph.node}
    assert quantize(bundle, data, "--method", "fp16") == 0
    assert {runs(bundle, "fp16", engine) for engine in BOTH} == {"model.fp16.onnx"}
    model = onnx.load(bundle / "model.fp16.onnx")
    weights = [one for one in model.graph.initializer if len(one.dims) == 4]
    assert {one.data_type for one in weights} == {TensorProto.FLOAT16}
    kept = set(around(onnx.load(bundle / "model.onnx")))
    assert kept < before
    assert any("ReduceMean" in node.op_type for node in model.graph.node if node.name in kept)
    assert (bundle / "model.fp16.onnx").stat().st_size < 0.7 * (bundle / "model.onnx").stat().st_size


def test_nncf_stands_beside_the_model_for_all_engines(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(bundle, data) == 0
    assert quantize(bundle, data, "--method", "nncf", "--largest-loss", "0.2") == 0
    assert re.search(r"model\.int8\.xml: \d+ of \d+ layers in INT8", capsys.readouterr().out)
    assert runs(bundle, "int8", "openvino") == "model.int8.xml"
    assert runs(bundle, "int8", "onnxruntime") == "model.int8.onnx"
    assert quantize(bundle, data, "--method", "percentile") == 0
    assert runs(bundle, "int8", "openvino") == "model.int8.onnx", "a new one for all engines is for OpenVINO, too"
    assert not list(bundle.glob("model.int8.xml")) + list(bundle.glob("*.bin"))


def test_accuracy_control_takes_back_what_costs_too_much(bundle: Path, data: Path) -> None:
    """Held to the scores of FP32 themselves: with much allowed everything is in INT8, with little a part is not."""
    from models.accuracy_control import quantise_within
    from models.dataset import read_dataset
    from models.smaller import prepared

    loaded = load_bundle(bundle)
    pictures = list(prepared(read_dataset(data).split("train"), loaded.manifest.input.spec))
    import onnxruntime as ort

    session = ort.InferenceSession(str(bundle / "model.onnx"))
    items = [(picture, session.run(None, {"image": picture})[0]) for picture in pictures]

    def judge(truths: Sequence[Any], answers: Sequence[Any]) -> tuple[float, list[float]]:
        near = [1 - float(np.abs(truth - answer).max()) for truth, answer in zip(truths, answers, strict=True)]
        return float(np.mean(near)), near

    much = quantise_within(bundle / "model.onnx", pictures, items, judge, 0.5)
    assert (much.kept, much.in_int8) == ((), much.layers)
    import openvino as ov

    def loss(model: ov.Model) -> float:
        compiled = ov.Core().compile_model(model, "CPU")
        return 1 - judge([truth for _, truth in items], [compiled(picture)[0] for picture, _ in items])[0]

    little = quantise_within(bundle / "model.onnx", pictures, items, judge, loss(much.model) / 4)
    assert little.kept
    assert loss(little.model) <= loss(much.model) / 4
    assert little.in_int8 <= much.in_int8


def test_all_ways_are_compared_and_the_bundle_stays_as_it_is(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(bundle)
    assert quantize(bundle, data, "--compare", "--largest-loss", "0.5") == 0
    told = capsys.readouterr().out
    for way in ("dynamic", "entropy", "minmax", "percentile"):
        assert f"| {way} int8 onnxruntime |" in told
    assert "| nncf int8 openvino |" in told
    assert "| nncf int8 onnxruntime |" not in told
    assert contents(bundle) == before


def test_nothing_is_told_to_anybody(bundle: Path, data: Path, tmp_path: Path) -> None:
    """NNCF reports its use where openvino-telemetry is installed: one stands ready here, and is never loaded."""
    spy = tmp_path / "installed/openvino_telemetry"
    spy.mkdir(parents=True)
    (spy / "__init__.py").write_text(
        f"open({str(tmp_path / 'loaded')!r}, 'w').close()\nclass Telemetry:\n    def __init__(self, *a, **k): pass\n"
    )
    command = [sys.executable, "-m", "models", "quantize", "--model", str(bundle), "--data", str(data)]
    command += ["--method", "nncf", "--count", "8", "--largest-loss", "0.9"]
    traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(tmp_path / "trace")]
    able = shutil.which("strace") and not subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode
    paths = {"PYTHONPATH": f"{spy.parent}:{ROOT}"}
    whole = [*traced, *command] if able else command
    done = subprocess.run(whole, cwd=ROOT, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "layers in INT8" in done.stdout
    assert not (tmp_path / "loaded").exists()
    if able:
        assert not re.findall(r".*sin6?_port.*", (tmp_path / "trace").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder.parent)): path.read_bytes() for path in sorted(folder.parent.rglob("*.*"))}


def refused(capsys: pytest.CaptureFixture[str], bundle: Path, data: Path, *options: object) -> str:
    """One sentence; the bundle and its neighbourhood stay as they are."""
    before = contents(bundle)
    capsys.readouterr()
    assert quantize(bundle, data, *options) == 1
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert contents(bundle) == before
    return error


@pytest.mark.parametrize("method", ["minmax", "dynamic", "nncf", "fp16"])
def test_weights_that_are_no_numbers(method: str, bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(bundle / "model.onnx")
    weight = next(one for one in model.graph.initializer if len(one.dims) == 4)
    array = numpy_helper.to_array(weight).copy()
    array[0, 0, 0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, bundle / "model.onnx")
    from edge.bundle import sha256_of

    manifest = read_manifest(bundle)
    manifest["files"][0]["sha256"] = sha256_of(bundle / "model.onnx")
    write_manifest(bundle, manifest)
    assert f"{weight.name} has values that are not finite numbers" in refused(capsys, bundle, data, "--method", method)


def test_pictures_that_do_not_serve(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = Path(shutil.copytree(data, tmp_path / "small"))
    for path in (small / "images").rglob("*.png"):
        cv2.imwrite(str(path), np.zeros((5, 5), np.uint8))
    assert "is 5x5, and the model looks at 32x32: give pictures of the camera" in refused(capsys, bundle, small)
    broken = Path(shutil.copytree(data, tmp_path / "broken"))
    for path in (broken / "images").rglob("*.png"):
        path.write_bytes(b"no picture")
    assert "broken" in refused(capsys, bundle, broken)
    empty = Path(shutil.copytree(data, tmp_path / "empty"))
    index = empty / "index.csv"
    index.write_text(index.read_text().replace(",train", ",val"))
    assert "no pictures in the split train: nothing to calibrate with" in refused(capsys, bundle, empty)
    index.write_text(index.read_text().replace(",val", ",train"))
    assert "accuracy control takes labelled pictures" in refused(capsys, bundle, empty, "--method", "nncf")
    assert "nothing to compare on" in refused(capsys, bundle, empty, "--compare")
    assert "is not a folder" in refused(capsys, bundle, tmp_path / "none")
    assert "--largest-loss 2.0" in refused(capsys, bundle, data, "--method", "nncf", "--largest-loss", "2")
    assert "--count 0" in refused(capsys, bundle, data, "--count", "0")


def test_a_bundle_that_is_not_there_or_has_no_fp32(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(tmp_path / "none", data) == 1
    assert "does not exist" in capsys.readouterr().err
    manifest = read_manifest(bundle)
    manifest["files"][0]["precision"] = "fp16"
    manifest["golden"]["scores"]["fp16"] = manifest["golden"]["scores"].pop("fp32")
    write_manifest(bundle, manifest)
    assert "has no fp32 model" in refused(capsys, bundle, data)


def test_an_edit_that_fails_leaves_nothing_behind(bundle: Path) -> None:
    before = contents(bundle)

    def fail() -> None:
        with edited(bundle) as folder:
            (folder / "model.onnx").write_bytes(b"half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert contents(bundle) == before
