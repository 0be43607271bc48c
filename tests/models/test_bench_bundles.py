"""`bench-bundles`: a bundle of a published network that the daemon's engines agree on."""

from pathlib import Path

import numpy as np
import pytest

from edge.backends import BACKENDS, Plan, check_golden, load_backend
from edge.backends.plan import EngineSettings
from edge.bundle import load_bundle
from edge.errors import BundleError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from models.__main__ import main

    out = tmp_path_factory.mktemp("bench")
    assert main(["bench-bundles", "--out", str(out), "--only", "mobilenetv3-small", "--size", "64"]) == 0
    return out


def test_every_engine_gives_the_golden_scores_in_every_precision(folder: Path) -> None:
    bundle = load_bundle(folder / "mobilenetv3-small")
    assert bundle.precisions == ("fp32", "int8")
    for backend in BACKENDS:
        for precision in bundle.precisions:
            difference = check_golden(load_backend(bundle, Plan(backend, "cpu", precision), EngineSettings()), bundle)
            print(f"{backend} {precision}: {difference:.4f}")


def test_swapped_channels_do_not_pass_the_golden_check(folder: Path) -> None:
    bundle = load_bundle(folder / "mobilenetv3-small")
    backend = load_backend(bundle, Plan("onnxruntime", "cpu", "fp32"), EngineSettings())
    inputs = bundle.golden_inputs
    inputs[...] = np.ascontiguousarray(inputs[..., ::-1])
    with pytest.raises(BundleError, match="scores otherwise"):
        check_golden(backend, bundle)


def test_a_bundle_that_is_there_stays(folder: Path) -> None:
    from models.__main__ import main

    before = (folder / "mobilenetv3-small/model.onnx").stat().st_mtime_ns
    assert main(["bench-bundles", "--out", str(folder), "--only", "mobilenetv3-small", "--size", "64"]) == 0
    assert (folder / "mobilenetv3-small/model.onnx").stat().st_mtime_ns == before
    assert [entry.name for entry in folder.iterdir()] == ["mobilenetv3-small"], "something was left behind"
