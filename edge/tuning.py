"""What `edgecls tune` measured, kept for this device: read where an engine is made. The file is in docs/tuning.md."""

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

from edge.backends.plan import BACKENDS, Hint, Plan
from edge.bundle import Bundle

TIE = 1.02
"""Two that lie closer together than this are equally quick: the same one measured twice differs as much."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process measured of a plan.

    Attributes:
        p50_ms: median time of one inference, one at a time.
        fps: inferences per second, as many at a time as the plan has streams.
        cpu_ms: time of processors per inference, all threads together.
        peak_mib: the most memory that the process has had.
        golden_difference: the largest difference of a score from the golden ones.
        others: cores that were taken by others meanwhile.
    """

    p50_ms: float
    fps: float
    cpu_ms: float = 0.0
    peak_mib: float = 0.0
    golden_difference: float = 0.0
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A plan and what came out of it over `samples`, one from each process.

    Of `p50_ms` and `fps` what a third of the processes are better than (`service/tuning/race.py` says why), of the
    others the median. What was disturbed does not count, unless all were.
    """

    plan: Plan
    p50_ms: float
    fps: float
    cpu_ms: float = 0.0
    peak_mib: float = 0.0
    samples: tuple[Sample, ...] = ()

    def cost(self, goal: Hint) -> float:
        """What is to be little: milliseconds per inference."""
        return self.p50_ms if goal == "latency" else 1e3 / self.fps


def best(candidates: Sequence[Measured], goal: Hint) -> Measured | None:
    """The quickest, and of those as quick as it the one with the least CPU time, then memory, then the simplest.

    What the race has dropped after a process or two is not compared: its figure may have been luck.
    """
    able = [measured for measured in candidates if goal == "throughput" or measured.plan.streams == 1]
    most = max((len(measured.samples) for measured in able), default=0)
    able = [measured for measured in able if len(measured.samples) >= min(3, most)]
    quickest = min(able, key=lambda measured: measured.cost(goal), default=None)
    if quickest is None:
        return None
    tied = [
        measured
        for measured in able
        if measured.cost(goal) <= quickest.cost(goal) * TIE and len(measured.samples) >= len(quickest.samples) / 2
    ]
    # Both are measured, too: what differs by less than this does not differ.
    tied = [measured for measured in tied if measured.cpu_ms <= 1.1 * min(other.cpu_ms for other in tied)]
    tied = [measured for measured in tied if measured.peak_mib <= 1.1 * min(other.peak_mib for other in tied)]
    return min(tied, key=_complexity)


def _complexity(measured: Measured) -> tuple[int, bool, int, float]:
    plan = measured.plan
    return plan.threads * plan.streams, plan.spinning, BACKENDS.index(plan.backend), measured.p50_ms


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
