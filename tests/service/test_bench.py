"""`edgecls bench` on real engines; no figure is held against a limit."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from service.bench.report import STAGES, read_report
from service.bench.verdict import sentences
from service.cli import main

LOADS = {"engine", "model_size", "hd", "video"}


Bench = Callable[..., tuple[int, str, str]]
"""Exit status, stdout and stderr."""


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = main(["bench", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one real run wrote: every candidate with one thread."""
    files = ("--model", str(ROOT / "models/surface-demo"), "--video", str(ROOT / "models/demo/conveyor.mp4"))
    command = [sys.executable, "-m", "service.cli", "bench", *files, "--threads", "1", "--seconds", "0.1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    path.write_text(done.stdout)
    return path


def test_every_backend_and_precision_is_measured_at_every_load(measured: Path) -> None:
    report: dict[str, Any] = json.loads(measured.read_text())
    plans = {(c["plan"]["backend"], c["plan"]["precision"], c["plan"]["threads"]) for c in report["candidates"]}
    assert plans == {(b, p, 1) for b in ("onnxruntime", "openvino") for p in ("int8", "fp32")}
    for candidate in report["candidates"]:
        assert set(candidate["results"]) == LOADS
        assert candidate["peak_mib"] > 30
        for load, result in candidate["results"].items():
            assert len(result["rounds"]) == 5
            assert result["fps"] > 0 < result["cpu_ms"]
            assert set(result["stages"]) == ({"infer"} if load == "engine" else set(STAGES))
            for spread in result["stages"].values():
                assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"]
            assert (result["overhead_us"] is None) == (load == "engine") == (result["overhead_percent"] is None)
    fps = [candidate["results"]["engine"]["fps"] for candidate in report["candidates"]]
    assert fps == sorted(fps, reverse=True)
    assert {"onnxruntime", "openvino", "opencv"} < set(report["machine"]["versions"])
    assert report["peak_mib"] > max(candidate["peak_mib"] for candidate in report["candidates"]) / 2


def test_the_stages_of_a_frame_add_up(measured: Path) -> None:
    for candidate in json.loads(measured.read_text())["candidates"]:
        for load, result in candidate["results"].items():
            if load != "engine":
                stages = dict(result["stages"])
                total = stages.pop("total")
                # Both hold for any frames, however much they differ: no stage is left out, and none counts more.
                assert total["p50"] <= sum(stage["p99"] for stage in stages.values())
                assert all(stage["p50"] <= total["p50"] for stage in stages.values())


def test_the_text_says_what_people_ask(measured: Path, bench: Bench) -> None:
    status, out, _ = bench("--from", measured)
    assert status == 0
    text = " ".join(out.split())
    for word in ("surface-demo", "frames per second", "onnxruntime int8 1", "openvino fp32 1", "The quickest is"):
        assert word in text
    for word in ("FP32 with openvino", "1280x720", "p50 p95 p99", "MiB", "2026", "onnxruntime 1.", "cores"):
        assert word in text


def test_from_gives_back_the_same_document(measured: Path, bench: Bench) -> None:
    assert bench("--from", measured, "--json") == (0, measured.read_text(), "")


@pytest.mark.parametrize(
    ("int8_fps", "said"),
    [
        (80, "INT8 loses to FP32 with openvino: 0.80 of its speed (80 against 100 frames per second)"),
        (102, "INT8 gains nothing over FP32 with openvino (102 against 100 frames per second)"),
        (310, "INT8 is 3.10 times as fast as FP32 with openvino (310 against 100 frames per second)"),
    ],
)
def test_int8_that_loses_is_said_plainly(int8_fps: float, said: str, measured: Path) -> None:
    fps = {"int8": int8_fps, "fp32": 100.0}
    candidates = [
        replace(
            one, results={load: replace(result, fps=fps[one.plan.precision]) for load, result in one.results.items()}
        )
        for one in read_report(measured).candidates
        if one.plan.backend == "openvino"
    ]
    assert any(sentence.startswith(said) for sentence in sentences(candidates, [], ""))


def test_the_picture_is_a_png_that_people_can_read(measured: Path, tmp_path: Path, bench: Bench) -> None:
    picture = tmp_path / "bench.png"
    status, _, err = bench("--from", measured, "--plot", picture)
    assert (status, err) == (0, f"edgecls bench: drawn: {picture}\n")
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert 1000 < width < 3000
    assert 400 < height < 3000


def test_an_engine_that_fails_the_golden_check_is_listed_with_its_sentence(broken_bundle: Path, bench: Bench) -> None:
    manifest = json.loads((broken_bundle / "model.json").read_text())
    manifest["golden"]["scores"]["int8"] = [[0.25] * 4 for _ in manifest["golden"]["scores"]["int8"]]
    (broken_bundle / "model.json").write_text(json.dumps(manifest))
    command = ("--model", broken_bundle, "--backend", "onnxruntime", "--threads", 1, "--seconds", 0.05)
    status, out, _ = bench(*command, "--json")
    assert status == 0
    report = json.loads(out)
    assert [c["plan"]["precision"] for c in report["candidates"]] == ["fp32"]
    assert [one["plan"].split()[1] for one in report["refused"]] == ["int8"]
    assert "scores otherwise than its author measured" in report["refused"][0]["why"]
    status, out, err = bench(*command, "--precision", "int8")
    assert (status, err) == (1, "edgecls bench: no engine could be measured: see why above\n")
    assert "scores otherwise than its author measured" in " ".join(out.split())


def test_the_configuration_names_model_and_engine(surface_demo: Path, clip: Path, tmp_path: Path, bench: Bench) -> None:
    line = {"name": "a", "topic": "a", "source": {"images": "*.png"}}
    engine = {"backend": "openvino", "precision": "fp32", "threads": 1}
    config = tmp_path / "edgecls.yaml"
    config.write_text(json.dumps({"model": str(surface_demo), "engine": engine, "lines": [line]}))
    status, out, _ = bench("--config", config, "--precision", "int8", "--seconds", 0.05, "--video", clip, "--json")
    assert status == 0
    report = json.loads(out)
    plans = [candidate["plan"] for candidate in report["candidates"]]
    assert [(p["backend"], p["precision"], p["threads"]) for p in plans] == [("openvino", "int8", 1)]
    assert "conveyor.mp4" in report["video"]
    assert bench("--config", tmp_path / "none.yaml")[0] == 78


def test_an_engine_that_is_asked_for_and_not_there_is_named(surface_demo: Path, bench: Bench) -> None:
    status, out, _ = bench("--model", surface_demo, "--precision", "fp16", "--backend", "openvino", "--seconds", 0.05)
    assert status == 1
    assert "has no fp16 model for openvino" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--threads", "0"], 2, "--threads 0: give 1 or more"),
        (["--seconds", "0"], 2, "--seconds 0: give more than 0"),
        (["--seconds", "nan"], 2, "--seconds nan: give more than 0"),
        (["--plot", "bench.txt"], 2, "--plot bench.txt: give a name that ends with .png"),
        (
            ["--from", "a.json", "--threads", "1"],
            2,
            "--from shows what was measured before: leave out --model, --threads",
        ),
        (["--plot", "/no/such/place/bench.png"], 1, "the directory /no/such/place does not exist"),
        (["--plot", "/dev/null/bench.png"], 1, "the directory /dev/null does not exist"),
        (["--video", "none.mp4"], 1, "video none.mp4 does not exist: check the path"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], status: int, sentence: str, surface_demo: Path, bench: Bench
) -> None:
    done, out, err = bench("--model", surface_demo, *arguments)
    assert (done, out) == (status, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_missing_model_or_result_is_one_sentence(tmp_path: Path, measured: Path, bench: Bench) -> None:
    none = tmp_path / "none"
    sentence = f"edgecls: bundle {none} does not exist: give the directory of a model bundle\n"
    assert bench("--model", none) == (1, "", sentence)
    sentence = f"edgecls: {none} cannot be read (No such file or directory): check the path\n"
    assert bench("--from", none) == (1, "", sentence)
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert "is no result of a bench" in bench("--from", other)[2]
    other.write_text(json.dumps({**json.loads(measured.read_text()), "candidates": [{"plan": 1}]}))
    assert "is damaged" in bench("--from", other)[2]


def test_without_matplotlib_the_picture_can_be_drawn_elsewhere(
    measured: Path, tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    status, out, err = bench("--from", measured, "--plot", tmp_path / "a.png")
    assert (status, out) == (1, "")
    assert "matplotlib, which is not installed here" in err
    assert "`edgecls bench --from FILE --plot FILE.png`" in err
    assert len(err.splitlines()) == 1
