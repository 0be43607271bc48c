"""The NCS2 (Intel Neural Compute Stick 2, device MYRIAD): a worker process drives it through an OpenVINO of its own.

The last OpenVINO with a plug-in for the stick, 2022.3 LTS, can neither share a process with a newer one nor be imported
by today's Python. So the user installs it beside ours, and `edge/ncs2/` drives it ([docs/ncs2.md](../../docs/ncs2.md)).
"""

import fcntl
import logging
import mmap
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge.backends import BackendName
from edge.bundle import Precision
from edge.errors import BackendError, EdgeError, EngineError
from edge.frame import Image
from edge.ncs2.process import WorkerFailedError, WorkerLostError, WorkerProcess
from edge.ncs2.protocol import SCORES_BYTES, Reason, text_of
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
    """One stick with one model. Lines take turns; a worker that is lost is started again by the next run.

    Args:
        model: ONNX, opset 13 or lower, with the normalisation in its graph.
        precision: of that file; `int8` is refused.
        spec: what the preprocessor writes.
        settings: how to reach the stick.

    Attributes:
        labels: how many scores the model gives.

    Raises:
        BackendError: OpenVINO is not there or refuses the model.
        EngineError: there is no stick.
    """

    name: BackendName = "openvino"
    device: Literal["ncs2"] = "ncs2"

    def __init__(self, model: Path, precision: Precision, spec: InputSpec, settings: Ncs2Settings) -> None:
        if precision == "int8":
            raise BackendError(
                "the NCS2 runs no INT8 model: set engine.precision to fp16 or fp32, "
                "or engine.device to another one (docs/ncs2.md)"
            )
        self.precision: Precision = precision
        self._model, self._spec, self._settings = model, spec, settings
        self._library = find_library(settings.openvino_dir)
        self._lock = threading.Lock()
        self._closed = False
        self._memory_fd = _shared_memory(SCORES_BYTES + int(np.prod(spec.shape)))
        memory = mmap.mmap(self._memory_fd, 0)
        self._image = np.frombuffer(memory, np.uint8, offset=SCORES_BYTES).reshape(spec.shape)
        self._worker: WorkerProcess | None = None
        try:
            self._worker, self.labels = self._start()
        except BaseException:
            os.close(self._memory_fd)
            raise
        self._scores = np.frombuffer(memory, np.float32, self.labels).reshape(1, self.labels)

    def bind(self, image: Image, scores: npt.NDArray[np.float32]) -> Callable[[], None]:
        """See `Backend.bind`. Both arrays are copied on each run: the stick's memory is shared by all lines."""
        if image.shape != self._spec.shape or scores.shape != (1, self.labels):
            raise BackendError(
                f"{self._model} takes {self._spec.shape} and gives {(1, self.labels)}, "
                f"not {image.shape} and {scores.shape}: correct model.json or export the model again"
            )

        def run() -> None:
            with self._lock:
                worker = self._worker or self._restart()
                self._image[:] = image
                try:
                    worker.run(self._settings.timeout_s)
                except WorkerFailedError as error:
                    self._worker = None
                    raise EngineError(str(self._sentence(error))) from error
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
            if not self._closed:
                self._closed = True
                os.close(self._memory_fd)
            if self._worker is not None:
                self._worker.end()
                self._worker = None

    def _restart(self) -> WorkerProcess:
        """Anything that goes wrong now was right before, so it may be right again."""
        if self._closed:
            raise EngineError("the NCS2 was closed: nothing can be run on it any more")
        try:
            self._worker, labels = self._start()
        except BackendError as error:
            raise EngineError(str(error)) from error
        if labels != self.labels:
            raise EngineError(f"{self._model} was replaced by one with {labels} scores: restart the daemon")
        return self._worker

    def _start(self) -> tuple[WorkerProcess, int]:
        """A worker that has loaded the model, and how many scores it gives."""
        directory, device = self._settings.openvino_dir, self._settings.device
        further = sorted(directory.glob("runtime/3rdparty/*/lib"))
        try:
            worker = WorkerProcess(self._library, further, self._model, device, self._memory_fd)
            hello = worker.hello(self._settings.start_timeout_s)
        except WorkerFailedError as error:
            raise self._sentence(error) from error
        except WorkerLostError as error:
            raise BackendError(
                f"the NCS2 worker {error} before it had loaded {self._model} with {self._library}: "
                "see docs/ncs2.md for what it needs, or set engine.device to another one"
            ) from error
        shape = (hello.batch, hello.height, hello.width, hello.channels)
        if shape != self._spec.shape or not 0 < hello.labels * 4 <= SCORES_BYTES:
            worker.end()
            raise BackendError(
                f"{self._model} takes {shape} and gives {hello.labels} scores, model.json says {self._spec.shape}: "
                "correct it or export the model again"
            )
        log.info("%s is loaded on %s by OpenVINO %s", self._model, device, text_of(hello.openvino))
        return worker, hello.labels

    def _sentence(self, error: WorkerFailedError) -> EdgeError:
        """What failed, and the remedy."""
        directory, device = self._settings.openvino_dir, self._settings.device
        detail = "; ".join(filter(None, (error.text, error.printed))) or "it does not say why"
        reason = error.reason
        if reason in (Reason.MODEL, Reason.RUNNING) and any(word in detail for word in _STICK_FAILED):
            reason = Reason.NO_DEVICE
        match reason:
            case Reason.LIBRARY:
                return BackendError(
                    f"{self._library} cannot be loaded ({detail}): install the OpenVINO 2022.3 that is made for this "
                    "processor, and the packages that it needs (docs/ncs2.md)"
                )
            case Reason.TOO_OLD:
                return BackendError(
                    f"{self._library} is too old, it has no {error.text}: install OpenVINO 2022.3.2 (docs/ncs2.md)"
                )
            case Reason.NO_PLUGIN:
                return BackendError(
                    f"the OpenVINO in {directory} has no plug-in for {device} that can be loaded ({detail}): install "
                    "the archive of OpenVINO 2022.3.2, which has it, and libusb-1.0-0 (docs/ncs2.md)"
                )
            case Reason.NO_DEVICE:
                return EngineError(
                    f"no NCS2 stick found ({detail}): plug it in, and give this user access to it with the udev rule "
                    "in docs/ncs2.md"
                )
            case Reason.MODEL:
                return BackendError(
                    f"OpenVINO refuses {self._model} on {device}: {detail}: export it as FP16 or FP32 with opset 13 "
                    "or lower, or set engine.device to another one"
                )
            case Reason.RUNNING:
                return EngineError(
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
