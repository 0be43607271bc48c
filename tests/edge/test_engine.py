"""One engine for many lines, and its cache."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.backends import Backend, EngineSettings, Plan, load_backend
from edge.bundle import Bundle, load_bundle
from edge.engine import Engine
from edge.errors import BackendError


@pytest.fixture
def bundle(surface_demo: Path) -> Bundle:
    return load_bundle(surface_demo)


def test_the_model_is_loaded_once_for_all_lines(bundle: Bundle) -> None:
    loaded: list[Plan] = []

    def load(bundle: Bundle, plan: Plan, settings: EngineSettings) -> Backend:
        loaded.append(plan)
        return load_backend(bundle, plan, settings)

    engine = Engine(bundle, EngineSettings(), lines=3, cores=2, load=load)
    slots = [engine.slot() for _ in range(3)]
    assert loaded == [Plan("onnxruntime", "cpu", "int8", threads=1, streams=2, hint="throughput")]
    for slot, golden in zip(slots, bundle.golden_inputs, strict=False):
        slot.input[0] = golden
    for slot in slots:
        slot.infer()
    wanted, tolerance = bundle.golden_scores("int8", "onnxruntime")
    for number, slot in enumerate(slots):
        assert np.abs(slot.scores[0] - wanted[number]).max() <= tolerance


def test_the_log_says_what_was_chosen_and_why(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Engine(bundle, EngineSettings(backend="openvino"), cores=2)
    assert "model surface-demo 1.0.0: int8 on openvino, device cpu, 2 threads (the rule for devices that" in caplog.text


def test_openvino_keeps_compiled_models_where_it_may(bundle: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Engine(bundle, EngineSettings(backend="openvino", cache_dir=cache))
    assert not cache.exists(), "a cache that nobody has made is not made by the daemon"
    cache.mkdir()
    Engine(bundle, EngineSettings(backend="openvino", cache_dir=cache))
    compiled = {path: path.stat().st_mtime_ns for path in cache.rglob("*.blob")}
    assert len(compiled) == 1
    Engine(bundle, EngineSettings(backend="openvino", cache_dir=cache))
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.blob")} == compiled, "it was compiled again"


NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")


@as_root
def test_a_cache_in_which_root_has_left_something_is_done_without(
    surface_demo: Path, open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_folder / "cache"
    cache.mkdir()
    settings = EngineSettings(backend="openvino", cache_dir=cache)
    bundle = load_bundle(shutil.copytree(surface_demo, open_folder / "model"))
    Engine(bundle, settings)
    (compiled,) = cache.rglob("*.blob")
    compiled.chmod(0o600)
    os.chown(cache, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        Engine(bundle, settings)
    finally:
        os.seteuid(0)
    assert f"compiled models cannot be kept in {cache}" in caplog.text


@as_root
def test_root_leaves_the_cache_of_the_daemon_alone(bundle: Bundle, tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    Engine(bundle, EngineSettings(backend="openvino", cache_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_falls_back_only_when_it_may(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BackendError, match="device cuda is not there for onnxruntime; what is there: onnxruntime: cpu"):
        Engine(bundle, EngineSettings(device="cuda"))
    engine = Engine(bundle, EngineSettings(device="cuda", fall_back_to_cpu=True))
    assert (engine.plan.device, engine.precision) == ("cpu", "int8")
    assert "falling back to the CPU" in caplog.text
