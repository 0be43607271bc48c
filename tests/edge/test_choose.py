"""The rule behind `auto`, and what `edgecls tune` measured."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edge.backends import EngineSettings, Plan
from edge.backends.choose import choose
from edge.bundle import Bundle, load_bundle
from edge.errors import BackendError
from edge.tuning import Measured, device_key, model_key


@pytest.fixture
def bundle(surface_demo: Path) -> Bundle:
    return load_bundle(surface_demo)


def plan(bundle: Bundle, lines: int = 1, cores: int = 4, **asked: Any) -> Plan:
    return choose(bundle, EngineSettings(**asked), lines=lines, cores=cores)[0]


def test_without_a_measurement_onnxruntime_runs_int8_on_the_cpu(bundle: Bundle) -> None:
    assert plan(bundle, cores=16) == Plan("onnxruntime", "cpu", "int8", threads=4)
    assert plan(bundle, cores=2).threads == 2


def test_lines_that_share_a_model_get_streams(bundle: Bundle) -> None:
    assert plan(bundle, lines=4, cores=4) == Plan("onnxruntime", "cpu", "int8", 1, 4, hint="throughput")
    assert plan(bundle, lines=2, cores=4) == Plan("onnxruntime", "cpu", "int8", 2, 2, hint="throughput")
    assert plan(bundle, lines=4, cores=4, hint="latency").streams == 1


def test_on_arm_openvino_gets_the_model_that_it_can_run(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert plan(bundle).precision == "int8"
    assert plan(bundle, backend="openvino").precision == "fp32"
    assert plan(bundle, backend="openvino", precision="int8").precision == "int8"


def test_what_is_asked_for_is_done(bundle: Bundle) -> None:
    asked: dict[str, Any] = {
        "backend": "openvino",
        "precision": "fp32",
        "threads": 3,
        "spinning": True,
        "optimisation": "basic",
    }
    chosen = plan(bundle, **asked)
    assert {key: getattr(chosen, key) for key in asked} == asked


def test_a_device_of_another_backend(bundle: Bundle) -> None:
    with pytest.raises(BackendError, match="device cuda is driven by onnxruntime, not openvino"):
        plan(bundle, backend="openvino", device="cuda")


MEASURED = [
    Measured(Plan("onnxruntime", "cpu", "int8", 2), p50_ms=2.0, fps=500),
    Measured(Plan("openvino", "cpu", "int8", 2), p50_ms=1.0, fps=900),
    Measured(Plan("openvino", "cpu", "int8", 1, 2), p50_ms=1.8, fps=1500),
    Measured(Plan("onnxruntime", "cpu", "fp32", 2, spinning=True), p50_ms=0.5, fps=800),
]


@pytest.fixture
def tuning(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "tuning.json"
    entry = {device_key(): {"measured": [asdict(measured) for measured in MEASURED]}}
    path.write_text(json.dumps({"tuned": {model_key(bundle): entry}}))
    return path


def test_what_was_measured_decides(bundle: Bundle, tuning: Path) -> None:
    assert plan(bundle, tuning=tuning) == MEASURED[3].plan
    assert plan(bundle, tuning=tuning, precision="int8") == MEASURED[1].plan
    assert plan(bundle, tuning=tuning, backend="onnxruntime", spinning=False) == MEASURED[0].plan
    several = plan(bundle, lines=3, tuning=tuning)
    assert (several.backend, several.streams, several.hint) == ("openvino", 2, "throughput")


def test_lines_get_no_more_streams_than_they_can_fill(bundle: Bundle, tuning: Path) -> None:
    several = plan(bundle, lines=1, tuning=tuning, hint="throughput")
    assert (several.backend, several.threads, several.streams) == ("openvino", 2, 1)


def test_what_was_not_measured_goes_by_the_rule(bundle: Bundle, tuning: Path) -> None:
    assert plan(bundle, tuning=tuning, threads=7) == Plan("onnxruntime", "cpu", "int8", 7)


@pytest.mark.parametrize("damage", ["", "[]", '{"tuned": {}}', "{"])
def test_a_damaged_or_foreign_file_is_no_measurement(bundle: Bundle, tuning: Path, damage: str) -> None:
    tuning.write_text(damage)
    assert plan(bundle, tuning=tuning, cores=2) == Plan("onnxruntime", "cpu", "int8", 2)


def test_another_processor_or_model_is_no_measurement(bundle: Bundle, tuning: Path) -> None:
    for key in (device_key(), model_key(bundle)):
        text = tuning.read_text()
        tuning.write_text(text.replace(key, "another"))
        assert plan(bundle, tuning=tuning, cores=2) == Plan("onnxruntime", "cpu", "int8", 2)
        tuning.write_text(text)
