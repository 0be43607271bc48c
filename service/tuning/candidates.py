"""What there is to race: every way to run a bundle on this device."""

from collections.abc import Iterator
from dataclasses import replace

from edge.backends import BACKENDS, BackendName, Device, EngineSettings, Plan, devices
from edge.bundle import Bundle, Precision

MOST = 8
"""Threads, and streams: no device at the edge gains from more, and each way takes its second."""

_ON_CPU: tuple[Device, ...] = ("cpu", "xnnpack", "acl")
_FIXED = ("backend", "device", "precision", "threads", "streams", "spinning")


def candidates(bundle: Bundle, settings: EngineSettings, cores: int) -> list[Plan]:
    """Every plan that is installed, has a file, uses `cores` at most, and does what `settings` fix."""
    plans: list[Plan] = []
    for backend in BACKENDS:
        there = list(devices(backend))
        if backend == "openvino" and settings.openvino_dir is not None:
            there.append("ncs2")
        for device in there:
            for precision in bundle.precisions_for(backend):
                plans += _plans(backend, device, precision, cores)
    plans = [plan for plan in plans if all(getattr(settings, key) in ("auto", getattr(plan, key)) for key in _FIXED)]
    if settings.optimisation != "auto":
        plans = [replace(plan, optimisation=settings.optimisation) for plan in plans]
    if settings.pinning != "auto":
        plans = [replace(plan, pinning=settings.pinning) for plan in plans]
    return plans


def _plans(backend: BackendName, device: Device, precision: Precision, cores: int) -> Iterator[Plan]:
    if device == "ncs2" and precision == "int8":
        return  # its plug-in has no quantised layers
    if device not in _ON_CPU:
        for streams in (1, 2):  # two keep it busy while the host prepares the next
            yield Plan(backend, device, precision, streams=streams, hint="throughput" if streams > 1 else "latency")
        return
    for threads in _counts(cores):
        for streams in _counts(cores // threads):
            plan = Plan(backend, device, precision, threads, streams, hint="throughput" if streams > 1 else "latency")
            yield plan
            if backend == "onnxruntime" and threads > 1 and device != "xnnpack":  # one thread has nobody to wait for
                yield replace(plan, spinning=True)


def _counts(most: int) -> list[int]:
    """1, 2, 4, … and `most` itself."""
    most = min(most, MOST)
    return sorted({n for n in (1, 2, 4, 8) if n <= most} | ({most} if most else set()))
