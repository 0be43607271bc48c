"""What every backend promises, held against every backend: real engines on the shipped model."""

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge.backends import BACKENDS, Backend, BackendName, EngineSettings, Output, Plan, check_golden, load_backend
from edge.bundle import Bundle, Precision, load_bundle
from edge.errors import BackendError, BundleError
from edge.frame import Image

pytestmark = pytest.mark.parametrize("name", BACKENDS)
PRECISIONS = ("int8", "fp32")


@pytest.fixture
def bundle(surface_demo: Path) -> Bundle:
    return load_bundle(surface_demo)


def load(bundle: Bundle, name: BackendName, precision: Precision = "int8", threads: int = 1) -> Backend:
    return load_backend(bundle, Plan(name, "cpu", precision, threads), EngineSettings())


def buffers(bundle: Bundle) -> tuple[Image, npt.NDArray[np.float32]]:
    return np.zeros(bundle.manifest.input.spec.shape, np.uint8), np.zeros((1, len(bundle.labels)), np.float32)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_are_softmax_values_of_every_label(bundle: Bundle, name: BackendName, precision: Precision) -> None:
    backend = load(bundle, name, precision)
    image, scores = buffers(bundle)
    run = backend.bind(image, scores)
    assert (backend.plan.backend, backend.plan.precision) == (name, precision)
    assert backend.outputs == (Output("float32", (1, len(bundle.labels))),)
    image[0] = bundle.golden_inputs[1]
    run()
    assert scores.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_our_buffers_are_read_and_written(bundle: Bundle, name: BackendName, precision: Precision) -> None:
    image, scores = buffers(bundle)
    run = load(bundle, name, precision).bind(image, scores)
    seen = []
    for golden in bundle.golden_inputs:
        image[0] = golden
        run()
        seen.append(scores.tobytes())
    assert len(set(seen)) == len(seen), "the engine does not read our buffer"


def test_the_same_input_gives_the_same_scores(bundle: Bundle, name: BackendName) -> None:
    image, scores = buffers(bundle)
    run = load(bundle, name, threads=2).bind(image, scores)
    answers = []
    for number in (2, 0, 2):
        image[0] = bundle.golden_inputs[number]
        run()
        answers.append(scores.copy())
    assert np.array_equal(answers[0], answers[2])


def test_lines_that_share_it_do_not_mix_their_pictures(bundle: Bundle, name: BackendName) -> None:
    backend = load(bundle, name)
    wanted, _ = bundle.golden_scores("int8", name)
    worst = [0.0] * 4

    def line(number: int) -> None:
        image, scores = buffers(bundle)
        run = backend.bind(image, scores)
        image[0] = bundle.golden_inputs[number]
        for _ in range(100):
            run()
            worst[number] = max(worst[number], float(np.abs(scores[0] - wanted[number]).max()))

    threads = [threading.Thread(target=line, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) <= bundle.manifest.golden.tolerance["int8"]


def test_the_golden_check_says_how_far_off_it_was(bundle: Bundle, name: BackendName) -> None:
    assert check_golden(load(bundle, name), bundle) <= bundle.manifest.golden.tolerance["int8"]


def test_an_engine_that_refuses_a_model_says_so_in_one_sentence(broken_bundle: Path, name: BackendName) -> None:
    bundle = load_bundle(broken_bundle)
    (broken_bundle / "model.int8.onnx").write_bytes(b"no model at all")
    with pytest.raises(
        BackendError, match=r"refuses .*model\.int8\.onnx: .*: set engine\.backend or engine\.precision to another one"
    ) as caught:
        load(bundle, name)
    assert "\n" not in str(caught.value)


def test_a_precision_that_is_not_there(bundle: Bundle, name: BackendName) -> None:
    with pytest.raises(BundleError, match=f"has no fp16 model for {name}, only fp32, int8"):
        load(bundle, name, "fp16")


def test_a_device_that_is_not_there_is_told_with_what_is(bundle: Bundle, name: BackendName) -> None:
    device = {"onnxruntime": "cuda", "openvino": "npu"}[name]
    plan = Plan(name, device, "int8")  # type: ignore[arg-type]  # a str
    with pytest.raises(
        BackendError,
        match=rf"device {device} is not there for {name}; what is there: onnxruntime: cpu; openvino: cpu: set engine",
    ):
        load_backend(bundle, plan, EngineSettings())
