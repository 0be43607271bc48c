"""The rule behind `auto`: what was measured on this device, else what has been quick on devices of its kind."""

import platform
from collections.abc import Sequence
from dataclasses import replace

from edge.backends import devices
from edge.backends.plan import BACKEND_OF, BackendName, Device, EngineSettings, Hint, Plan
from edge.bundle import Bundle, Precision
from edge.errors import BackendError
from edge.tuning import Measured, best, tuned

MOST_THREADS = 4
"""More threads for one picture gained nothing on any processor that we know."""

_SWITCHES = ("spinning", "optimisation", "pinning")
_CHOICES = ("backend", "device", "precision", "threads", "streams", *_SWITCHES)
"""Keys of the settings and of a plan alike."""

_PREFERRED: dict[Device, tuple[Precision, ...]] = {
    "cpu": ("int8", "fp32", "fp16"),
    "cuda": ("fp16", "fp32", "int8"),  # CUDA computes QDQ in FP32, with the conversions on top
    "ncs2": ("fp16", "fp32"),  # its plug-in rejects INT8
}


def choose(bundle: Bundle, settings: EngineSettings, *, lines: int, cores: int) -> tuple[Plan, str]:
    """How to run a bundle, and why so.

    Args:
        bundle: the model.
        settings: what is asked for; `auto` is decided here.
        lines: how many share the engine.
        cores: how many this process may use.

    Raises:
        BackendError: what is asked for contradicts itself or is not there.
        BundleError: the bundle has no such precision.
    """
    hint: Hint = settings.hint if settings.hint != "auto" else "throughput" if lines > 1 else "latency"
    measured = _best(tuned(settings.tuning, bundle), settings, hint, lines) if settings.tuning else None
    if measured is not None:
        return _with_what_is_asked_for(measured.plan, settings, hint), "the quickest that `edgecls tune` measured here"
    backend, device = _backend_and_device(bundle, settings)
    precision = settings.precision if settings.precision != "auto" else _precision(bundle, backend, device)
    streams = settings.streams if settings.streams != "auto" else min(lines, cores) if hint == "throughput" else 1
    # Never spinning: two threads that share a core with other work are two to five times as slow with it, and between
    # the pictures of a camera they burn up to half a core. Where it helps on cores of its own, `edgecls tune` says so.
    threads = settings.threads if settings.threads != "auto" else max(1, min(cores // streams, MOST_THREADS))
    plan = Plan(backend=backend, device=device, precision=precision, threads=threads, streams=streams, hint=hint)
    return _with_what_is_asked_for(plan, settings, hint), "the rule for devices that were not tuned"


def _best(candidates: Sequence[Measured], settings: EngineSettings, hint: Hint, lines: int) -> Measured | None:
    """The best of what was measured that does what is asked for."""
    asked = {key: value for key in _CHOICES if (value := getattr(settings, key)) != "auto"}
    fitting = [
        measured
        for measured in candidates
        if all(getattr(measured.plan, key) == value for key, value in asked.items())
        # More streams than lines would leave cores without work.
        and (measured.plan.streams <= lines or "streams" in asked)
    ]
    return best(fitting, hint)


def _with_what_is_asked_for(plan: Plan, settings: EngineSettings, hint: Hint) -> Plan:
    asked = {key: value for key in _SWITCHES if (value := getattr(settings, key)) != "auto"}
    return replace(plan, hint=hint, **asked)


def _backend_and_device(bundle: Bundle, settings: EngineSettings) -> tuple[BackendName, Device]:
    if settings.device != "auto":
        able = BACKEND_OF[settings.device]
        if settings.backend not in ("auto", *able):
            raise BackendError(
                f"device {settings.device} is driven by {' or '.join(able)}, not {settings.backend}: "
                "change engine.device or engine.backend"
            )
        there = [name for name in able if settings.backend == name] or _with_files(bundle, able)
        return next((name for name in there if settings.device in devices(name)), there[0]), settings.device
    # ONNX Runtime is quick on every processor that we know (OpenVINO has no INT8 on Arm) and takes less memory.
    both: tuple[BackendName, ...] = ("onnxruntime", "openvino")
    names = _with_files(bundle, both) if settings.backend == "auto" else [settings.backend]
    for name in names:
        found = devices(name)
        if found:
            return name, "cuda" if "cuda" in found else "cpu"
    raise BackendError(
        f"the {' and the '.join(names)} runtime cannot be loaded: install it or set engine.backend to another one"
    )


def _with_files(bundle: Bundle, names: Sequence[BackendName]) -> list[BackendName]:
    """Those that the bundle has a file for: OpenVINO's own format is for OpenVINO alone."""
    return [name for name in names if bundle.precisions_for(name)] or list(names)


def _precision(bundle: Bundle, backend: BackendName, device: Device) -> Precision:
    there = bundle.precisions_for(backend)
    preferred = _PREFERRED.get(device, _PREFERRED["cpu"])
    if (backend, device, platform.machine()) == ("openvino", "cpu", "aarch64"):
        # OpenVINO has no INT8 there: it computes such models in FP16, and on a processor without products of bytes
        # (Cortex-A72, Raspberry Pi 4) it refuses them: "object is not initialized", OpenVINO 2026.4.1.
        preferred = ("fp32", "fp16", "int8")
    return next((p for p in preferred if p in there), "fp32")
