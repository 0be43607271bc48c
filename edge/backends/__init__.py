"""Runtimes behind one interface, and the one place that knows them all."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edge.backends.plan import BACKEND_OF, BACKENDS, BackendName, Device, EngineSettings, Plan
from edge.bundle import Bundle
from edge.errors import BackendError, BundleError
from edge.frame import Image
from edge.preprocess import InputSpec

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendName",
    "Device",
    "EngineSettings",
    "Output",
    "Plan",
    "Run",
    "as_scores",
    "check_golden",
    "devices",
    "load_backend",
    "usable_cache",
]

log = logging.getLogger(__name__)

Run = Callable[[], None]
"""Runs the model on what the bound input holds and leaves the result in the bound outputs.

Raises:
    EngineError: the engine failed; its device may come back.
"""


class Output(NamedTuple):
    """What a model gives: numpy's name of its type, and its shape, -1 where the file leaves it open."""

    dtype: str
    shape: tuple[int, ...]


class Backend(Protocol):
    """One model, loaded into one runtime on one device. Lines share it: any thread may call it."""

    plan: Plan
    outputs: tuple[Output, ...]

    def bind(self, image: Image, *outputs: npt.NDArray[Any]) -> Run:
        """Make a place for one line at the model. The arrays are used where they are, without copies if possible.

        Args:
            image: (n, height, width, channels) uint8, BGR or grey: what the preprocessor writes. n is 1, or what the
                file leaves open.
            outputs: of the first outputs of the model (`Bundle.make_outputs`).

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

        if bundle.manifest.task != "classification":
            raise BackendError(
                f"device ncs2 runs models of the task classification, and {bundle.manifest.name} is one of "
                f"{bundle.manifest.task}: set engine.device to another one"
            )
        if settings.openvino_dir is None:
            raise BackendError(
                "device ncs2 needs engine.openvino_dir, the folder of an OpenVINO 2022.3.2: install it and name it "
                "(docs/ncs2.md)"
            )
        return Ncs2Backend(model, spec, plan, Ncs2Settings(settings.openvino_dir))
    _check_device(plan)
    cache_dir = usable_cache(settings.cache_dir)
    try:
        return _load(model, spec, plan, cache_dir)
    except BackendError as error:
        if cache_dir is None:
            raise
        backend = _load(model, spec, plan, None)
        log.warning("compiled models cannot be kept in %s, so that each start takes longer: %s", cache_dir, error)
        return backend


def usable_cache(cache_dir: Path | None) -> Path | None:
    """The cache, if it is there and is ours: without it everything works, only the start takes longer.

    A command that root gives leaves that of the daemon alone, which could not use what root has put there.
    """
    if cache_dir is None or not os.access(cache_dir, os.W_OK) or cache_dir.stat().st_uid != os.geteuid():
        return None
    return cache_dir


def _load(model: Path, spec: InputSpec, plan: Plan, cache_dir: Path | None) -> Backend:
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
    _check_outputs(backend, bundle)
    expected, tolerance = bundle.golden_scores(plan.precision, plan.backend)
    # What will see several tiles at a time shows here that it can.
    together = len(expected) if bundle.manifest.input.resize == "tile" else 1
    image: Image = np.zeros((together, *bundle.manifest.input.spec.shape[1:]), np.uint8)
    outputs = bundle.make_outputs(together)
    run = backend.bind(image, *outputs)
    largest = 0.0
    for first in range(0, len(expected), together):
        image[...] = bundle.golden_inputs[first : first + together]
        run()
        differences = np.abs(as_scores(bundle, outputs) - expected[first : first + together]).max(axis=1)
        for number, difference in enumerate(differences.tolist(), first):
            if not difference <= tolerance:  # also when it is not a number
                raise BundleError(
                    f"{bundle.path}: golden input {number} scores otherwise than its author measured "
                    f"(difference {difference:.3f}, allowed {tolerance:.3f}, {plan.backend} {plan.precision}): "
                    "restore the bundle or set engine.backend or engine.precision to another one"
                )
            largest = max(largest, difference)
    return largest


def as_scores(bundle: Bundle, outputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """(n, labels): what `golden.scores` holds of these outputs.

    Raises:
        BundleError: a mask has a number that is no label's.
    """
    if bundle.manifest.task == "classification":
        return np.asarray(outputs[0], np.float32)
    mask, confidence = outputs
    labels = len(bundle.labels)
    if int(mask.max()) >= labels:
        raise BundleError(
            f"{bundle.path}: the mask has the number {int(mask.max())}, and model.json has {labels} labels, "
            f"numbered from 0 to {labels - 1}: name them all, or export the bundle again"
        )
    rows = [
        np.bincount(numbers.ravel(), weights.ravel() / 255, minlength=labels) / numbers.size
        for numbers, weights in zip(mask, confidence, strict=True)
    ]
    return np.asarray(rows, np.float32)


def _check_outputs(backend: Backend, bundle: Bundle) -> None:
    """Raises `BundleError` when the file gives something else than model.json says."""
    precision, given = backend.plan.precision, backend.outputs
    if bundle.manifest.task == "classification":
        scores = given[0].shape[-1]
        if scores not in (-1, len(bundle.labels)):
            raise BundleError(
                f"{bundle.path}: the {precision} model gives {scores} scores, "
                f"model.json has {len(bundle.labels)} labels: export the bundle again"
            )
        return
    wanted = [Output("uint8", array.shape) for array in bundle.make_outputs()]
    if len(given) < len(wanted) or not all(_fits(*pair) for pair in zip(given, wanted, strict=False)):
        answers = ", ".join(f"{dtype} {shape}" for dtype, shape in given)
        raise BundleError(
            f"{bundle.path}: the {precision} model gives {answers}, and a segmenter gives its mask and its confidence, "
            f"both uint8 {wanted[0].shape}: export the bundle again"
        )
    if bundle.manifest.input.resize == "tile" and given[0].shape[0] != -1:
        raise BundleError(
            f"{bundle.path}: the {precision} model takes one picture at a time, and resize tile needs one that takes "
            "several: export it with a dynamic batch"
        )


def _fits(given: Output, wanted: Output) -> bool:
    return (
        given.dtype == wanted.dtype
        and len(given.shape) == len(wanted.shape)
        and all(have in (-1, want) for have, want in zip(given.shape, wanted.shape, strict=True))
    )


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
