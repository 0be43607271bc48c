"""Runtimes behind one interface, and the one place that knows them all."""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge.backends.plan import BACKEND_OF, BACKENDS, BackendName, Device, EngineSettings, Plan
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError
from edge.frame import Image

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendName",
    "Device",
    "EngineSettings",
    "Plan",
    "Run",
    "check_golden",
    "devices",
    "load_backend",
]

Run = Callable[[], None]
"""Runs the model on what the bound input holds and leaves the result in the bound scores.

Raises:
    EngineError: the engine failed; its device may come back.
"""


class Backend(Protocol):
    """One model, loaded into one runtime on one device. Lines share it: any thread may call it."""

    plan: Plan
    labels: int
    """How many scores the model gives."""

    def bind(self, image: Image, scores: npt.NDArray[np.float32]) -> Run:
        """Make a place for one line at the model. The arrays are used where they are, without copies if possible.

        Args:
            image: (1, height, width, channels) uint8, BGR or grey: what the preprocessor writes.
            scores: (1, labels) float32.

        Raises:
            BackendError: the runtime refuses them.
        """

    def close(self) -> None:
        """Let go of what the end of this object does not."""


def devices(name: BackendName) -> tuple[Device, ...]:
    """The devices that a backend can drive here: none when its runtime is not installed.

    The NCS2 is not among them: it takes an OpenVINO of its own (`EngineSettings.openvino_dir`).
    """
    try:
        found: tuple[Device, ...] = _runtime(name).devices()
    except ImportError:
        return ()
    return found


def load_backend(bundle: Bundle, plan: Plan, settings: EngineSettings) -> Backend:
    """Load the model as planned.

    Raises:
        BackendError: the runtime or the device is not there, or it refuses the model.
        BundleError: the bundle has no such file.
    """
    model = bundle.file(plan.precision, plan.backend)
    spec = bundle.manifest.input.spec
    if (plan.backend, plan.device) == ("openvino", "ncs2"):
        from edge.backends.ncs2 import Ncs2Backend, Ncs2Settings

        if settings.openvino_dir is None:
            raise BackendError(
                "device ncs2 needs engine.openvino_dir, the folder of an OpenVINO 2022.3.2: install it and name it "
                "(docs/ncs2.md)"
            )
        return Ncs2Backend(model, spec, plan, Ncs2Settings(settings.openvino_dir))
    _check_device(plan)
    cache_dir = _usable(settings.cache_dir)
    try:
        if plan.backend == "onnxruntime":
            from edge.backends.onnxruntime import OnnxRuntimeBackend

            return OnnxRuntimeBackend(model, spec, plan, cache_dir)
        from edge.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, spec, plan, cache_dir)
    except ImportError as error:
        raise BackendError(
            f"the {plan.backend} runtime cannot be loaded ({error}): install it or set engine.backend to another one"
        ) from error


def check_golden(backend: Backend, bundle: Bundle) -> float:
    """Run the golden inputs, which also warms the engine up; the largest difference of a score.

    Raises:
        BundleError: it is more than the bundle allows.
        EngineError: the engine failed.
    """
    plan = backend.plan
    if backend.labels != len(bundle.labels):
        raise BundleError(
            f"{bundle.path}: the {plan.precision} model gives {backend.labels} scores, "
            f"model.json has {len(bundle.labels)} labels: export the bundle again"
        )
    expected, tolerance = bundle.golden_scores(plan.precision, plan.backend)
    image: Image = np.zeros(bundle.manifest.input.spec.shape, np.uint8)
    scores = np.zeros((1, expected.shape[1]), np.float32)
    run = backend.bind(image, scores)
    largest = 0.0
    for number, (picture, wanted) in enumerate(zip(bundle.golden_inputs, expected, strict=True)):
        image[0] = picture
        run()
        difference = float(np.abs(scores[0] - wanted).max())
        if not difference <= tolerance:  # also when it is not a number
            raise BundleError(
                f"{bundle.path}: golden input {number} scores otherwise than its author measured "
                f"(difference {difference:.3f}, allowed {tolerance:.3f}, {plan.backend} {plan.precision}): "
                "restore the bundle or set engine.backend or engine.precision to another one"
            )
        largest = max(largest, difference)
    return largest


def _runtime(name: BackendName) -> ModuleType:
    if name == "onnxruntime":
        from edge.backends import onnxruntime

        return onnxruntime
    from edge.backends import openvino

    return openvino


def _check_device(plan: Plan) -> None:
    if plan.device == "cpu" or plan.device in devices(plan.backend):
        return
    there = [f"{name}: {', '.join(devices(name)) or 'not installed'}" for name in BACKENDS]
    if plan.backend not in BACKEND_OF[plan.device]:
        driven_by = " or ".join(BACKEND_OF[plan.device])
        raise BackendError(f"device {plan.device} is driven by {driven_by}, not {plan.backend}: change one of the two")
    raise BackendError(
        f"device {plan.device} is not there for {plan.backend}; what is there: {'; '.join(there)}: "
        "set engine.device to one of these, or mend its driver"
    )


def _usable(cache_dir: Path | None) -> Path | None:
    """The cache, if it is there and can be written to: without it everything works, only the start takes longer."""
    return cache_dir if cache_dir is not None and os.access(cache_dir, os.W_OK) else None
