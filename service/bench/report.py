"""What was measured, as records: written as one JSON document, and read again."""

import json
import os
import platform
import resource
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from edge.backends import Plan
from edge.errors import PermanentError
from edge.tuning import processor

Load = Literal["engine", "model_size", "hd", "video"]
"""The bound engine alone; the pipeline on frames of the model's size in memory, of 1280x720 in memory, from a video."""
LOADS: tuple[Load, ...] = ("engine", "model_size", "hd", "video")
STAGES = ("read", "preprocess", "infer", "rest", "total")
"""`rest` is what the pipeline does besides preprocessing and inference; `total` is all of them."""

SCHEMA = "edgecls/bench/1"

# What makes INT8 quick: on x86, and on Arm.
_INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm", "sve")
_PACKAGES = {
    "edgecls": "edgecls",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "opencv": "opencv-python-headless",
    "numpy": "numpy",
}


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of all frames of all rounds, milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Round:
    """One turn at one load.

    Attributes:
        frames: how many.
        seconds: how long they took.
        cpu_seconds: of the whole process meanwhile, all threads together.
    """

    frames: int
    seconds: float
    cpu_seconds: float

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    @property
    def ms(self) -> float:
        """Milliseconds per frame, the mean."""
        return self.seconds / self.frames * 1e3


@dataclass(frozen=True, slots=True)
class Result:
    """One load of one candidate.

    Attributes:
        fps: the median of the rounds.
        cpu_ms: CPU time per frame of all threads, milliseconds, the median of the rounds.
        stages: for each of `STAGES` that the load has.
        rounds: each of them.
        overhead_percent: how much longer a frame takes than with the engine alone, the median of the rounds.
        overhead_us: the same in microseconds per frame; both None for the engine itself.
    """

    fps: float
    cpu_ms: float
    stages: dict[str, Percentiles]
    rounds: list[Round]
    overhead_percent: float | None = None
    overhead_us: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the model.

    Attributes:
        plan: how it was run.
        results: per load.
        peak_mib: the most memory that a process of its own took, None when that is not known.
    """

    plan: Plan
    results: dict[Load, Result]
    peak_mib: float | None

    @property
    def name(self) -> str:
        """For people, short."""
        return f"{self.plan.backend} {self.plan.precision}, {where(self.plan)}"


@dataclass(frozen=True, slots=True)
class Refused:
    """One way to run the model that does not work here, and the sentence that says why."""

    plan: str
    why: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    instructions: list[str]
    system: str
    python: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the bench.

    Attributes:
        model: its name.
        version: of the model.
        width: of the model's input, pixels.
        height: the same.
        made_at: RFC 3339, UTC.
        seconds: how long each load of each candidate was measured, all rounds together.
        video: what the frames of the load `video` came from; why there is none when it starts with `none`.
        machine: where.
        candidates: those that work, the quickest engine first.
        refused: those that do not.
        peak_mib: the most memory that the bench itself took, with every candidate loaded.
        sentences: what it comes to, for people.
    """

    model: str
    version: str
    width: int
    height: int
    made_at: str
    seconds: float
    video: str
    machine: Machine
    candidates: list[Candidate]
    refused: list[Refused]
    peak_mib: float
    sentences: list[str]


def where(plan: Plan) -> str:
    """Threads, or the device when it is not the CPU."""
    return f"{plan.threads} thread{'s' if plan.threads > 1 else ''}" if plan.device == "cpu" else f"on {plan.device}"


def this_machine() -> Machine:
    """What a measurement holds for."""
    versions = {}
    for name, package in _PACKAGES.items():
        try:
            versions[name] = version(package)
        except PackageNotFoundError:
            continue
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.system()
    return Machine(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        instructions=_instructions(),
        system=f"{system}, {platform.machine()}",
        python=platform.python_version(),
        versions=versions,
    )


def now() -> str:
    """RFC 3339, UTC, seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def peak_mib() -> float:
    """The most memory that this process has taken so far."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    # May tell what the parent took before this process became another program: the second choice.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def as_json(report: Report) -> str:
    """One document."""
    document: dict[str, Any] = {"schema": SCHEMA, **asdict(report)}
    return json.dumps(_rounded(document), ensure_ascii=False, indent=1)


def read_report(path: Path) -> Report:
    """What `as_json` wrote.

    Raises:
        PermanentError: the file cannot be read or is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise PermanentError(f"{path} is no result of a bench: give what `edgecls bench --json` wrote")
        return TypeAdapter(Report).validate_python(document)
    except OSError as error:
        raise PermanentError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except (ValueError, ValidationError) as error:
        raise PermanentError(f"{path} is damaged: write it again with `edgecls bench --json`") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _instructions() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    words = {
        word for line in text.splitlines() if line.lower().startswith(("flags", "features")) for word in line.split()
    }
    return [name for name in _INSTRUCTIONS if name in words]
