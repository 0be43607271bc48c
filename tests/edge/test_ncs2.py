"""The NCS2's backend, on the CPU device of the OpenVINO that is installed: the same library interface, no stick."""

import contextlib
import gc
import importlib.util
import logging
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge.backends import EngineSettings, Output, Plan, check_golden, load_backend
from edge.backends import ncs2 as ncs2_backend
from edge.backends.ncs2 import Ncs2Backend, Ncs2Settings
from edge.bundle import Bundle, load_bundle
from edge.engine import Engine
from edge.errors import BackendError, EdgeError, EngineError
from edge.ncs2 import process

Scores = npt.NDArray[np.float32]
Start = Callable[..., Ncs2Backend]
PLAN = Plan("openvino", "ncs2", "fp32")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def openvino_dir() -> Path:
    spec = importlib.util.find_spec("openvino")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture
def bundle(surface_demo: Path) -> Bundle:
    return load_bundle(surface_demo)


@pytest.fixture
def start(bundle: Bundle, openvino_dir: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as started:

        def starter(
            device: str = "CPU", directory: Path = openvino_dir, model: Path | None = None, timeout_s: float = 20
        ) -> Ncs2Backend:
            settings = Ncs2Settings(directory, device, timeout_s=timeout_s, start_timeout_s=timeout_s)
            model = model or bundle.file("fp32", "openvino")
            backend = Ncs2Backend(model, bundle.manifest.input.spec, PLAN, settings)
            return started.enter_context(contextlib.closing(backend))

        yield starter


@pytest.fixture
def bad_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another program in the worker's place."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def put(how: str) -> None:
        monkeypatch.setattr(process, "COMMAND", (sys.executable, str(ROOT / "tests/ncs2_workers.py"), how))

    return put


def scores_of(backend: Ncs2Backend, bundle: Bundle) -> Scores:
    image = np.zeros(bundle.manifest.input.spec.shape, np.uint8)
    scores = np.zeros((1, len(bundle.labels)), np.float32)
    run = backend.bind(image, scores)
    rows = []
    for picture in bundle.golden_inputs:
        image[0] = picture
        run()
        rows.append(scores[0].copy())
    return np.stack(rows)


def worker_pid(backend: Ncs2Backend) -> int:
    assert backend._worker is not None
    return backend._worker._process.pid


def refusal(start: Callable[[], object]) -> str:
    with pytest.raises(EdgeError) as caught:
        start()
    assert "\n" not in str(caught.value)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_it_scores_as_the_same_openvino_does_in_this_process(start: Start, bundle: Bundle) -> None:
    import openvino as ov

    backend = start()
    assert (backend.plan, backend.outputs) == (PLAN, (Output("float32", (1, 4)),))
    assert check_golden(backend, bundle) <= bundle.manifest.golden.tolerance["fp32"]
    scores = scores_of(backend, bundle)
    compiled = ov.Core().compile_model(str(bundle.file("fp32", "openvino")), "CPU")
    for picture, row in zip(bundle.golden_inputs, scores, strict=True):
        assert np.allclose(compiled([picture[None]])[0][0], row, atol=1e-4)


def test_lines_that_share_it_get_their_own_scores(start: Start, bundle: Bundle) -> None:
    backend = start()
    expected = scores_of(backend, bundle)
    wrong: list[int] = []

    def line(number: int) -> None:
        image = bundle.golden_inputs[number : number + 1].copy()
        scores = np.zeros((1, 4), np.float32)
        run = backend.bind(image, scores)
        for _ in range(30):
            run()
            if not np.array_equal(scores[0], expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=line, args=(number,)) for number in range(len(expected))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_worker_that_is_killed_in_the_middle_of_a_run(start: Start, bundle: Bundle) -> None:
    backend = start()
    pid = worker_pid(backend)
    os.kill(pid, signal.SIGSTOP)
    errors: list[str] = []
    thread = threading.Thread(target=lambda: errors.append(refusal(lambda: scores_of(backend, bundle))))
    thread.start()
    while not backend._lock.locked():
        pass
    os.kill(pid, signal.SIGKILL)
    thread.join()
    (error,) = errors
    assert error == (
        "EngineError: the NCS2 worker was ended by SIGKILL: it is started again; "
        "plug the stick in again if this goes on"
    )
    assert refusal(lambda: scores_of(backend, bundle)) == (
        "EngineError: the NCS2 has no worker any more: the model must be loaded again"
    )


def test_a_worker_that_hangs_is_killed(start: Start, bundle: Bundle) -> None:
    backend = start()
    pid = worker_pid(backend)
    os.kill(pid, signal.SIGSTOP)
    backend._settings = replace(backend._settings, timeout_s=0.1)
    assert refusal(lambda: scores_of(backend, bundle)) == (
        "EngineError: the NCS2 worker did not answer within 0.1 s: it is started again; "
        "plug the stick in again if this goes on"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_engine_starts_it_again(
    bundle: Bundle, openvino_dir: Path, monkeypatch: pytest.MonkeyPatch, bad_worker: Callable[[str], None]
) -> None:
    monkeypatch.setattr(ncs2_backend, "Ncs2Settings", partial(Ncs2Settings, device="CPU"))
    engine = Engine(bundle, EngineSettings(device="ncs2", openvino_dir=openvino_dir))
    assert engine.plan.precision == "fp32", "the bundle's INT8 model is not for the stick"
    slot = engine.slot()
    slot.input[0] = bundle.golden_inputs[1]
    slot.infer()
    before = slot.scores.copy()
    gc.collect()  # of other tests
    files = len(list(Path("/proc/self/fd").iterdir()))
    real = process.COMMAND
    for _ in range(3):
        assert isinstance(engine._backend, Ncs2Backend)
        os.kill(worker_pid(engine._backend), signal.SIGKILL)
        with pytest.raises(EngineError, match="was ended by SIGKILL"):
            slot.infer()
        bad_worker("ends")
        with pytest.raises(EngineError, match="the NCS2 worker ended with status 3"):
            slot.restore()
        monkeypatch.setattr(process, "COMMAND", real)
        slot.restore()
        slot.scores[:] = 0
        slot.infer()
        assert np.array_equal(slot.scores, before)
    assert len(list(Path("/proc/self/fd").iterdir())) <= files, "each worker leaves a file open"
    engine.lose(engine.generation)


def test_without_a_folder_there_is_no_stick(bundle: Bundle) -> None:
    assert refusal(lambda: load_backend(bundle, PLAN, EngineSettings())) == (
        "BackendError: device ncs2 needs engine.openvino_dir, the folder of an OpenVINO 2022.3.2: install it and name "
        "it (docs/ncs2.md)"
    )


def test_the_signals_that_stop_the_daemon_do_not_stop_its_worker(start: Start, bundle: Bundle) -> None:
    backend = start()
    pid = worker_pid(backend)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    scores_of(backend, bundle)
    assert worker_pid(backend) == pid


def test_close_ends_the_worker(start: Start, bundle: Bundle) -> None:
    backend = start()
    assert backend._worker is not None
    worker = backend._worker._process
    backend.close()
    assert worker.returncode == 0
    assert "no worker any more" in refusal(lambda: scores_of(backend, bundle))


def test_arrays_of_another_shape_are_refused(start: Start) -> None:
    with pytest.raises(
        BackendError, match=r"takes \(1, 160, 160, 3\) and gives \(1, 4\), not \(1, 80, 80, 3\) and \(1, 4\): correct"
    ):
        start().bind(np.zeros((1, 80, 80, 3), np.uint8), np.zeros((1, 4), np.float32))


def test_an_int8_model_is_refused_before_anything_is_started(bundle: Bundle, tmp_path: Path) -> None:
    model, spec = bundle.file("int8", "openvino"), bundle.manifest.input.spec
    assert refusal(
        lambda: Ncs2Backend(model, spec, replace(PLAN, precision="int8"), Ncs2Settings(tmp_path / "none"))
    ) == (
        "BackendError: the NCS2 runs no INT8 model: set engine.precision to fp16 or fp32, "
        "or engine.device to another one (docs/ncs2.md)"
    )


def test_where_openvino_is_not(start: Start, tmp_path: Path) -> None:
    assert refusal(lambda: start(directory=tmp_path / "none")) == (
        f"BackendError: engine.openvino_dir: {tmp_path}/none is not a directory: install OpenVINO 2022.3.2 there, "
        "or correct the path (docs/ncs2.md)"
    )
    assert refusal(lambda: start(directory=tmp_path)) == (
        f"BackendError: engine.openvino_dir: {tmp_path} has no libopenvino_c.so: unpack the archive of "
        "OpenVINO 2022.3.2 there, the Python package has none (docs/ncs2.md)"
    )


def test_libraries_that_are_not_the_right_one(start: Start, openvino_dir: Path, tmp_path: Path) -> None:
    # As the archive lays them out.
    library = tmp_path / "runtime/lib/intel64/libopenvino_c.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF of another processor")
    assert refusal(lambda: start(directory=tmp_path)) == (
        f"BackendError: {library} cannot be loaded ({library}: file too short): install the OpenVINO 2022.3 that is "
        "made for this processor, and the packages that it needs (docs/ncs2.md)"
    )
    shutil.copy(next(openvino_dir.glob("libs/libtbbmalloc.so.*")), library)  # has nothing of OpenVINO
    assert refusal(lambda: start(directory=tmp_path)) == (
        f"BackendError: {library} is too old, it has no ov_get_openvino_version: install OpenVINO 2022.3.2 "
        "(docs/ncs2.md)"
    )


def test_an_openvino_without_the_plug_in(start: Start, openvino_dir: Path) -> None:
    assert refusal(lambda: start("MYRIAD")) == (
        f"BackendError: the OpenVINO in {openvino_dir} has no plug-in for MYRIAD that can be loaded "
        '(Device with "MYRIAD" name is not registered in the OpenVINO Runtime): install the archive of '
        "OpenVINO 2022.3.2, which has it, and libusb-1.0-0 (docs/ncs2.md)"
    )


def test_a_plug_in_that_finds_no_device(start: Start, openvino_dir: Path) -> None:
    if not next(openvino_dir.glob("libs/libopenvino_intel_npu_plugin.so"), None) or Path("/dev/accel").exists():
        pytest.skip("needs a plug-in whose device is not there")
    # The plug-in of Intel's NPU stands where the stick's would: it loads, and there is no device.
    assert re.fullmatch(
        r"EngineError: no NCS2 stick found \(.+\): plug it in, and give this user access to it with the udev rule "
        r"in docs/ncs2\.md",
        refusal(lambda: start("NPU")),
    )


def test_a_file_that_is_no_model(start: Start, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model at all")
    assert re.fullmatch(
        rf"BackendError: OpenVINO refuses {model} on CPU: .+: export it as FP16 or FP32 with opset 13 or lower, "
        r"or set engine\.device to another one",
        refusal(lambda: start(model=model)),
    )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("ends", "ended with status 3; it printed 'cannot open shared object file' last"),
        ("closes", "closed its connection"),
        ("speaks-http", "made no sense (a message begins with b'HTTP')"),
        ("is-cut-short", "made no sense (Hello has 92 bytes, not 12)"),
        ("is-newer", "made no sense (a message of version 2, not 1)"),
        ("says-done-first", "said Done instead of Hello"),
        ("fails-for-no-known-reason", "made no sense (failed for reason 99)"),
    ],
)
def test_a_worker_that_starts_badly(
    start: Start, bundle: Bundle, bad_worker: Callable[[str], None], how: str, said: str
) -> None:
    bad_worker(how)
    assert refusal(start).startswith(f"BackendError: the NCS2 worker {said} before it had loaded {bundle.path}")


def test_a_worker_that_does_not_start_in_time(start: Start, bad_worker: Callable[[str], None]) -> None:
    bad_worker("says-nothing")
    assert "worker did not answer within 0.2 s before it had loaded" in refusal(lambda: start(timeout_s=0.2))


def test_a_model_that_is_not_as_model_json_says(start: Start, bad_worker: Callable[[str], None]) -> None:
    bad_worker("has-another-shape")
    assert re.search(r"takes \(1, 80, 160, 3\) and gives 4 scores, model\.json says \(1, 160, 160, 3\)", refusal(start))
    bad_worker("has-too-many-labels")
    assert "gives 2147483648 scores" in refusal(start)


@pytest.mark.parametrize(
    ("how", "detail"),
    [
        ("has-no-stick", "Can not init Myriad device: NC_ERROR"),
        ("cannot-boot-its-stick", "general error; E: [ncAPI] [    555452] [python3] ncDeviceOpen:1013"),
    ],
)
def test_the_words_of_the_sticks_driver(start: Start, bad_worker: Callable[[str], None], how: str, detail: str) -> None:
    bad_worker(how)
    assert refusal(start).startswith(f"EngineError: no NCS2 stick found ({detail}")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("answers-another-run", "the NCS2 worker answered Done(number=1000, microseconds=1) to Run 1: it is started"),
        ("answers-garbage", "the NCS2 worker made no sense (a message begins with b'\\x00\\x00\\x00\\x00'): it is"),
        ("fails-while-running", "no NCS2 stick found (X_LINK_ERROR): plug it in"),
    ],
)
def test_a_worker_that_runs_badly(
    start: Start, bundle: Bundle, bad_worker: Callable[[str], None], how: str, said: str
) -> None:
    bad_worker(how)
    backend = start()
    assert refusal(lambda: scores_of(backend, bundle)).startswith(f"EngineError: {said}")


def test_what_a_worker_prints_is_logged_up_to_a_bound(
    start: Start, bad_worker: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    bad_worker("chatters")
    with caplog.at_level(logging.WARNING):
        start().close()
    lines = [record.message for record in caplog.records if record.message.startswith("NCS2 worker: ")]
    assert len(lines) == 101
    assert lines[0].startswith("NCS2 worker: line 0 and so on")
    assert max(map(len, lines)) < 320
    assert re.fullmatch(r"NCS2 worker: \d+ more lines are not logged", lines[-1])
