"""Every way to run a model on this device that is worth measuring."""

import os
from dataclasses import replace

from edge.backends import BACKENDS, BackendName, Device, EngineSettings, devices
from edge.backends.choose import MOST_THREADS
from edge.bundle import Bundle, Precision


def candidates(bundle: Bundle, asked: EngineSettings, cores: int | None = None) -> list[EngineSettings]:
    """Settings without `auto` where it makes a difference to speed.

    What is asked for by name is among them even when it is not there: loading it says why.

    Args:
        bundle: the model.
        asked: `auto` stands for everything that is installed.
        cores: how many this process may use; by default what the system allows it.
    """
    backends = BACKENDS if asked.backend == "auto" else (asked.backend,)
    return [
        replace(
            asked,
            backend=backend,
            device=device,
            precision=precision,
            threads=threads,
            streams=1,
            hint="latency",
            tuning=None,
            fall_back_to_cpu=False,
        )
        for backend in backends
        for device in _devices(backend, asked)
        for precision in _precisions(bundle, backend, asked)
        for threads in _threads(device, asked, cores or len(os.sched_getaffinity(0)))
    ]


def _devices(backend: BackendName, asked: EngineSettings) -> tuple[Device, ...]:
    if asked.device != "auto":
        return (asked.device,)
    return devices(backend) or (("cpu",) if asked.backend == backend else ())


def _precisions(bundle: Bundle, backend: BackendName, asked: EngineSettings) -> tuple[Precision, ...]:
    return bundle.precisions_for(backend) if asked.precision == "auto" else (asked.precision,)


def _threads(device: Device, asked: EngineSettings, cores: int) -> list[int]:
    if asked.threads != "auto":
        return [asked.threads]
    if device not in ("cpu", "xnnpack", "acl"):
        return [1]  # the device does the work
    most = min(cores, MOST_THREADS)
    return sorted({1, most, *(count for count in (2,) if count <= most)})
