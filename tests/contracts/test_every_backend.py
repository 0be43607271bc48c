"""What every backend promises, held against every backend: real engines on the shipped model."""

from pathlib import Path

import numpy as np
import pytest

from edge.backends import BACKENDS, Backend, BackendName, EngineSettings, make_backend
from edge.bundle import Bundle, Precision, load_bundle
from edge.errors import BackendError, BundleError

pytestmark = pytest.mark.parametrize("name", BACKENDS)
PRECISIONS = ("int8", "fp32")


@pytest.fixture
def bundle(surface_demo: Path) -> Bundle:
    return load_bundle(surface_demo)


def make(bundle: Bundle, name: BackendName, precision: Precision, threads: int = 1) -> Backend:
    settings = EngineSettings(backend=name, precision=precision, threads=threads)
    return make_backend(bundle, settings, cores=2)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_are_softmax_values_of_every_label(bundle: Bundle, name: BackendName, precision: Precision) -> None:
    backend = make(bundle, name, precision)
    assert (backend.name, backend.precision) == (name, precision)
    assert backend.input.shape == bundle.manifest.input.spec.shape
    assert backend.input.dtype == np.uint8
    backend.input[0] = bundle.golden_inputs[1]
    backend.infer()
    assert backend.scores.shape == (1, len(bundle.labels))
    assert backend.scores.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_buffers_are_made_once(bundle: Bundle, name: BackendName, precision: Precision) -> None:
    backend = make(bundle, name, precision)
    addresses = (backend.input.ctypes.data, backend.scores.ctypes.data)
    seen = []
    for image in bundle.golden_inputs:
        backend.input[0] = image
        backend.infer()
        seen.append(backend.scores.copy())
    assert (backend.input.ctypes.data, backend.scores.ctypes.data) == addresses
    assert len({scores.tobytes() for scores in seen}) == len(seen), "the engine does not read our buffer"


def test_the_same_input_gives_the_same_scores(bundle: Bundle, name: BackendName) -> None:
    backend = make(bundle, name, "int8", threads=2)
    backend.input[0] = bundle.golden_inputs[2]
    backend.infer()
    first = backend.scores.copy()
    backend.input[0] = bundle.golden_inputs[0]
    backend.infer()
    backend.input[0] = bundle.golden_inputs[2]
    backend.infer()
    assert np.array_equal(backend.scores, first)


def test_an_engine_that_refuses_a_model_says_so_in_one_sentence(
    bundle: Bundle, tmp_path: Path, name: BackendName
) -> None:
    from edge.backends import _load

    model = tmp_path / "model.int8.onnx"
    model.write_bytes(b"no model at all")
    with pytest.raises(
        BackendError, match=r"refuses .*model\.int8\.onnx: .*: set engine\.backend or engine\.precision to another one"
    ) as caught:
        _load(name, model, "int8", bundle.manifest.input.spec, 1)
    assert "\n" not in str(caught.value)


def test_a_precision_that_is_not_there(bundle: Bundle, name: BackendName) -> None:
    with pytest.raises(BundleError, match="has no fp16 model, only fp32, int8"):
        make(bundle, name, "fp16")
