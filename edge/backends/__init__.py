"""Engines behind one interface, and the one place that knows them all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, Precision
from edge.errors import BackendError, BundleError
from edge.frame import Image
from edge.preprocess import InputSpec

BackendName = Literal["onnxruntime", "openvino"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to run the model. `auto` leaves the choice to a rule that `make_backend` states.

    Attributes:
        backend: which runtime.
        precision: which file of the bundle.
        threads: threads inside one inference.
    """

    backend: Literal["auto", BackendName] = "auto"
    precision: Literal["auto", Precision] = "auto"
    threads: int | Literal["auto"] = "auto"


class Backend(Protocol):
    """One engine with one model. Used by one thread; the buffers are made once and belong to it."""

    name: BackendName
    precision: Precision
    input: Image
    """(1, height, width, channels) uint8: write the input here, then call `infer`."""
    scores: npt.NDArray[np.float32]
    """(1, labels) float32: softmax values, valid until the next `infer`."""

    def infer(self) -> None:
        """Run the model on what `input` holds and leave the result in `scores`.

        Raises:
            BackendError: the engine failed.
        """


def make_backend(bundle: Bundle, settings: EngineSettings, cores: int) -> Backend:
    """An engine that has been warmed up and has given the golden scores.

    `auto` means: ONNX Runtime, which is quick on every processor that we know (OpenVINO has no INT8 on Arm); the
    INT8 model if the bundle has one, else the first that it has; one thread per core, four at most.

    Args:
        bundle: the model.
        settings: from the configuration.
        cores: how many this process may use.

    Raises:
        BackendError: the runtime is not installed or refuses the model.
        BundleError: the bundle has no such precision, or the scores are not the golden ones.
    """
    name: BackendName = "onnxruntime" if settings.backend == "auto" else settings.backend
    precision = _auto_precision(bundle) if settings.precision == "auto" else settings.precision
    threads = min(cores, 4) if settings.threads == "auto" else settings.threads
    backend = _load(name, bundle.file(precision), precision, bundle.manifest.input.spec, threads)
    _check_golden(backend, bundle)
    return backend


def _auto_precision(bundle: Bundle) -> Precision:
    return "int8" if "int8" in bundle.precisions else bundle.precisions[0]


def _load(name: BackendName, model: Path, precision: Precision, spec: InputSpec, threads: int) -> Backend:
    try:
        if name == "onnxruntime":
            from edge.backends.onnxruntime import OnnxRuntimeBackend

            return OnnxRuntimeBackend(model, precision, spec, threads)
        from edge.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, precision, spec, threads)
    except ImportError as error:
        raise BackendError(
            f"the {name} runtime cannot be loaded ({error}): install it or set engine.backend to another one"
        ) from error


def _check_golden(backend: Backend, bundle: Bundle) -> None:
    golden = bundle.manifest.golden
    expected = np.asarray(golden.scores[backend.precision], np.float32)
    tolerance = golden.tolerance.get(backend.precision, 0.02)
    for number, (image, wanted) in enumerate(zip(bundle.golden_inputs, expected, strict=True)):
        backend.input[0] = image
        backend.infer()
        if backend.scores.shape != (1, len(wanted)):
            raise BundleError(
                f"{bundle.path}: the {backend.precision} model gives {backend.scores.shape[-1]} scores, "
                f"model.json has {len(wanted)} labels: export the bundle again"
            )
        difference = float(np.abs(backend.scores[0] - wanted).max())
        if not difference <= tolerance:  # also when it is not a number
            raise BundleError(
                f"{bundle.path}: golden input {number} scores otherwise than its author measured "
                f"(difference {difference:.3f}, allowed {tolerance:.3f}, {backend.name} {backend.precision}): "
                "restore the bundle or set engine.backend or engine.precision to another one"
            )
