"""What `edgecls tune` measured, kept for this device: read where an engine is made."""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edge.backends.plan import BACKENDS, Plan
from edge.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Measured:
    """A plan and what came out of it.

    Attributes:
        plan: how the model was run.
        p50_ms: median time of one inference, one at a time.
        fps: inferences per second, as many at a time as the plan has streams.
    """

    plan: Plan
    p50_ms: float
    fps: float


@cache
def device_key() -> str:
    """What a measurement holds for: this processor, so many cores of it, and the runtimes in these versions."""
    versions = []
    for name in BACKENDS:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    return "; ".join([processor(), f"{len(os.sched_getaffinity(0))} cores", *versions])


def model_key(bundle: Bundle) -> str:
    """What a measurement holds for: the model files of a bundle, as a hash."""
    hashes = sorted(entry.sha256 for entry in bundle.manifest.files)
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]


def tuned(path: Path, bundle: Bundle) -> Sequence[Measured]:
    """What was measured of this bundle on this device; nothing when that is not known or cannot be read."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["tuned"]
        results = entries[model_key(bundle)][device_key()]["measured"]
        return TypeAdapter(list[Measured]).validate_python(results)
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return ()


def processor() -> str:
    """The name of the processor, as /proc/cpuinfo tells it (x86) or the device tree (Arm boards)."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
        return Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    except OSError:
        return platform.machine()
