"""The NCS2 (Intel Neural Compute Stick 2, device MYRIAD): a worker process drives it through an OpenVINO of its own.

The last OpenVINO with a plug-in for the stick, 2022.3 LTS, can neither share a process with a newer one nor be imported
by today's Python. So the user installs it beside ours, and `edge/ncs2/` drives it ([docs/ncs2.md](../../docs/ncs2.md)).
"""

import fcntl
import logging
import mmap
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.backends import Output, Run
from edge.backends.host_input import HostInput
from edge.backends.plan import Plan
from edge.errors import BackendError, EngineError
from edge.frame import Image
from edge.ncs2.process import WorkerFailedError, WorkerLostError, WorkerProcess
from edge.ncs2.protocol import SCORES_BYTES, Reason
from edge.packets import text_of
from edge.preprocess import InputSpec

log = logging.getLogger(__name__)

_LIBRARY_FOLDERS = ("runtime/lib/*", "libs", ".")
"""In Intel's archive (intel64, aarch64, arm64, armv7l), in a Python wheel, and named by itself."""
_STICK_FAILED = ("NC_ERROR", "ncAPI", "X_LINK", "XLink")
"""Words of the stick's driver when it does not get at a stick."""


@dataclass(frozen=True, slots=True)
class Ncs2Settings:
    """How to reach the stick.

    Attributes:
        openvino_dir: where OpenVINO 2022.3 is installed.
        device: OpenVINO's name of the device.
        timeout_s: how long one inference may take until its worker is taken to hang, and is killed.
        start_timeout_s: the same for loading the model; the stick boots and the graph is compiled meanwhile.
    """

    openvino_dir: Path
    device: str = "MYRIAD"
    timeout_s: float = 5.0
    start_timeout_s: float = 60.0


class Ncs2Backend:
    """One stick with one model, in one worker. Lines take turns. When a run fails the worker is gone: load it again.

    Args:
        model: FP16 or FP32; ONNX of opset 13 or lower.
        spec: what the file takes; what it lacks is done on the host.
        plan: how to run it; its precision is the file's, the rest of it the stick does not know.
        settings: how to reach the stick.

    Raises:
        BackendError: OpenVINO is not there or refuses the model.
        EngineError: the stick is not there.
    """

    def __init__(self, model: Path, spec: InputSpec, plan: Plan, settings: Ncs2Settings) -> None:
        if plan.precision == "int8":
            raise BackendError(
                "the NCS2 runs no INT8 model: set engine.precision to fp16 or fp32, "
                "or engine.device to another one (docs/ncs2.md)"
            )
        self.plan = plan
        self._model, self._spec, self._settings = model, spec, settings
        self._library = find_library(settings.openvino_dir)
        self._lock = threading.Lock()
        as_the_file_takes_it = HostInput(spec, np.zeros(spec.shape, np.uint8)).array
        memory_fd = _shared_memory(SCORES_BYTES + as_the_file_takes_it.nbytes)
        try:
            memory = mmap.mmap(memory_fd, 0)
            self._input = np.frombuffer(memory, as_the_file_takes_it.dtype, offset=SCORES_BYTES)
            self._input = self._input.reshape(as_the_file_takes_it.shape)
            self._worker: WorkerProcess | None
            self._worker, labels = self._start(memory_fd)
        finally:
            os.close(memory_fd)  # the mapping and the worker have their own
        self.outputs: tuple[Output, ...] = (Output("float32", (1, labels)),)
        self._scores = np.frombuffer(memory, np.float32, labels).reshape(1, labels)

    def bind(self, image: Image, *outputs: npt.NDArray[Any]) -> Run:
        """See `Backend.bind`. Each run copies both arrays: all lines share the worker's memory."""
        (scores,) = outputs
        if image.shape != self._spec.shape or scores.shape != self._scores.shape:
            raise BackendError(
                f"{self._model} takes {self._spec.shape} and gives {self._scores.shape}, "
                f"not {image.shape} and {scores.shape}: correct model.json or export the model again"
            )
        host = None if self._spec.as_preprocessed else HostInput(self._spec, image)
        source = image if host is None else host.array

        def run() -> None:
            if host is not None:
                host()
            with self._lock:
                if self._worker is None:
                    raise EngineError("the NCS2 has no worker any more: the model must be loaded again")
                self._input[:] = source
                try:
                    self._worker.run(self._settings.timeout_s)
                except WorkerFailedError as error:
                    self._worker = None
                    raise EngineError(self._sentence(error)) from error
                except WorkerLostError as error:
                    self._worker = None
                    raise EngineError(
                        f"the NCS2 worker {error}: it is started again; plug the stick in again if this goes on"
                    ) from error
                scores[:] = self._scores

        return run

    def close(self) -> None:
        """End the worker, which gives the stick back."""
        with self._lock:
            if self._worker is not None:
                self._worker.end()
                self._worker = None

    def _start(self, memory_fd: int) -> tuple[WorkerProcess, int]:
        """A worker that has loaded the model, and how many scores it gives."""
        directory, device = self._settings.openvino_dir, self._settings.device
        further = sorted(directory.glob("runtime/3rdparty/*/lib"))
        try:
            worker = WorkerProcess(self._library, further, self._model, device, memory_fd)
            hello = worker.hello(self._settings.start_timeout_s)
        except WorkerFailedError as error:
            kind = EngineError if self._reason(error) is Reason.NO_DEVICE else BackendError
            raise kind(self._sentence(error)) from error
        except WorkerLostError as error:
            raise BackendError(
                f"the NCS2 worker {error} before it had loaded {self._model} with {self._library}: "
                "see docs/ncs2.md for what it needs, or set engine.device to another one"
            ) from error
        shape = hello[:4]
        if shape != self._input.shape or not 0 < hello.labels * 4 <= SCORES_BYTES:
            worker.end()
            raise BackendError(
                f"{self._model} takes {shape} and gives {hello.labels} scores, model.json says {self._input.shape}: "
                "correct it or export the model again"
            )
        log.info("%s is loaded on %s by OpenVINO %s", self._model, device, text_of(hello.openvino))
        return worker, hello.labels

    @staticmethod
    def _reason(error: WorkerFailedError) -> Reason:
        """What failed; a stick that is not there is told apart by what its driver says."""
        said = f"{error.text} {error.printed}"
        if error.reason in (Reason.MODEL, Reason.RUNNING) and any(word in said for word in _STICK_FAILED):
            return Reason.NO_DEVICE
        return error.reason

    def _sentence(self, error: WorkerFailedError) -> str:
        """What failed, and the remedy."""
        directory, device = self._settings.openvino_dir, self._settings.device
        detail = "; ".join(filter(None, (error.text, error.printed))) or "it does not say why"
        match self._reason(error):
            case Reason.LIBRARY:
                return (
                    f"{self._library} cannot be loaded ({detail}): install the OpenVINO 2022.3 that is made for this "
                    "processor, and the packages that it needs (docs/ncs2.md)"
                )
            case Reason.TOO_OLD:
                return f"{self._library} is too old, it has no {error.text}: install OpenVINO 2022.3.2 (docs/ncs2.md)"
            case Reason.NO_PLUGIN:
                return (
                    f"the OpenVINO in {directory} has no plug-in for {device} that can be loaded ({detail}): install "
                    "the archive of OpenVINO 2022.3.2, which has it, and libusb-1.0-0 (docs/ncs2.md)"
                )
            case Reason.NO_DEVICE:
                return (
                    f"no NCS2 stick found ({detail}): plug it in, and give this user access to it with the udev rule "
                    "in docs/ncs2.md"
                )
            case Reason.MODEL:
                return (
                    f"OpenVINO refuses {self._model} on {device}: {detail}: export it as FP16 or FP32 with opset 13 "
                    "or lower, or set engine.device to another one"
                )
            case Reason.RUNNING:
                return (
                    f"OpenVINO failed while running on {device}: {detail}: the worker is started again; plug the stick "
                    "in again if this goes on"
                )


def find_library(directory: Path) -> Path:
    """libopenvino_c.so of an installed OpenVINO.

    Raises:
        BackendError: it is not there.
    """
    if not directory.is_dir():
        raise BackendError(
            f"engine.openvino_dir: {directory} is not a directory: install OpenVINO 2022.3.2 there, "
            "or correct the path (docs/ncs2.md)"
        )
    for folder in _LIBRARY_FOLDERS:
        if found := sorted(directory.glob(f"{folder}/libopenvino_c.so*")):
            return found[0].resolve()
    raise BackendError(
        f"engine.openvino_dir: {directory} has no libopenvino_c.so: unpack the archive of OpenVINO 2022.3.2 there, "
        "the Python package has none (docs/ncs2.md)"
    )


def _shared_memory(size: int) -> int:
    """A file descriptor; it has no name that could be left behind, and nobody can make it smaller under our feet."""
    memory_fd = os.memfd_create("edgecls-ncs2", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory_fd, size)
    fcntl.fcntl(memory_fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return memory_fd
