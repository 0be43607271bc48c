"""One way to run a model, measured in a process of its own: what crashes or hangs there takes nobody with it."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from edge.backends import Backend, EngineSettings, Plan, Run, check_golden, load_backend
from edge.bundle import Bundle, load_bundle
from edge.errors import BundleError, EdgeError
from edge.tuning import Sample

ROOT = Path(__file__).resolve().parent.parent.parent
LEAST_RUNS = 10
_LIMIT_S = {"tensorrt": 1200.0, "cuda": 120.0, "gpu": 300.0, "npu": 300.0, "ncs2": 120.0}
"""TensorRT, GPU and NPU compile the model first, which takes minutes."""
_LIMIT_ON_CPU_S = 60.0

Kind = Literal["golden", "refused", "crashed", "hung"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a plan is out of the race.

    Attributes:
        kind: `golden`: its scores are not the golden ones; `refused`: the runtime or the device said no; `crashed`:
            its process died; `hung`: its process did not end in time.
    """

    plan: Plan
    kind: Kind
    why: str


def measure_in_a_process(
    bundle: Path, plan: Plan, settings: EngineSettings, seconds: float, limit_s: float | None = None
) -> Sample | Failure:
    """Measure a plan for so long, after it has been loaded and held against the golden scores."""
    job = {
        "bundle": str(bundle.resolve()),
        "plan": asdict(plan),
        "settings": TypeAdapter(EngineSettings).dump_python(settings, mode="json"),
        "seconds": seconds,
    }
    # -I: neither the current folder nor the environment decides what is imported.
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from service.tuning.measure import main; main()"
    limit_s = limit_s or seconds * 2 + _LIMIT_S.get(plan.device, _LIMIT_ON_CPU_S)
    with (
        _a_leash() as leash,
        subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-I", "-c", start, json.dumps(job)],
            stdin=leash,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us
        ) as process,
    ):
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return Failure(plan, "hung", f"did not end within {limit_s:g} s")
        finally:
            with contextlib.suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)  # also on Ctrl-C, and with what a device needs beside it
            process.wait()
    try:
        answer: dict[str, Any] = json.loads(stdout.splitlines()[-1])
        return Failure(plan, **answer["failure"]) if "failure" in answer else Sample(**answer)
    except (IndexError, ValueError, TypeError):
        return Failure(plan, "crashed", _end_of(process.returncode, stderr))


@contextlib.contextmanager
def _a_leash() -> Iterator[int]:
    """What a process reads from until its parent has ended, in whatever way: Ctrl-C can come while it is being born."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def _end_of(status: int, stderr: str) -> str:
    said = stderr.strip().splitlines()
    last = f": {said[-1][:300]}" if said else ""
    if status < 0:
        return f"its process was killed by {signal.Signals(-status).name}{last}"
    return f"its process ended with status {status}{last}"


def main() -> None:
    """The process: a job as the only argument, the result as the last line of stdout."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    job = json.loads(sys.argv[1])
    plan = TypeAdapter(Plan).validate_python(job["plan"])
    settings = TypeAdapter(EngineSettings).validate_python(job["settings"])
    _stay_small(plan)
    try:
        answer = _measured(Path(job["bundle"]), plan, settings, job["seconds"])
    except MemoryError:
        answer = {"failure": {"kind": "crashed", "why": "it needs more memory than is free"}}
    except EdgeError as error:
        answer = {"failure": {"kind": "refused", "why": str(error)}}
    print(json.dumps(answer), flush=True)  # noqa: T201  # the answer to who started it
    os._exit(0)  # nothing of what a runtime does on its way out is of interest


def _measured(path: Path, plan: Plan, settings: EngineSettings, seconds: float) -> dict[str, Any]:
    bundle = load_bundle(path)
    backend = load_backend(bundle, plan, settings)
    try:
        difference = check_golden(backend, bundle)
    except BundleError as error:
        return {"failure": {"kind": "golden", "why": str(error)}}
    begin, others = time.perf_counter(), _others_s()
    p50_ms, fps, cpu_ms = _alone(_place(backend, bundle), seconds)
    if plan.streams > 1:
        fps, cpu_ms = _together([_place(backend, bundle) for _ in range(plan.streams)], seconds)
    others = (_others_s() - others) / (time.perf_counter() - begin)
    return asdict(Sample(p50_ms, fps, cpu_ms, _peak_mib(), difference, round(max(0.0, others), 2)))


def _place(backend: Backend, bundle: Bundle) -> Run:
    """A run on a real picture: of zeros some kernels are quicker."""
    image = bundle.golden_inputs[:1].copy()
    return backend.bind(image, *bundle.make_outputs())


def _alone(run: Run, seconds: float) -> tuple[float, float, float]:
    """(p50 in ms, inferences per second, CPU time of one in ms), one at a time."""
    run()
    took: list[float] = []
    cpu, begin = time.process_time(), time.perf_counter()
    last, end = begin, begin + seconds
    while last < end or len(took) < LEAST_RUNS:
        run()
        now = time.perf_counter()
        took.append(now - last)
        last = now
    each = len(took) / (last - begin)
    return float(np.median(took)) * 1e3, each, (time.process_time() - cpu) * 1e3 / len(took)


def _together(runs: list[Run], seconds: float) -> tuple[float, float]:
    """(inferences per second, CPU time of one in ms), each in a thread of its own."""
    counts, over = [0] * len(runs), threading.Event()
    ready = threading.Barrier(len(runs) + 1)

    def work(number: int, run: Run) -> None:
        run()
        ready.wait()
        while not over.is_set():
            run()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=one, daemon=True) for one in enumerate(runs)]
    for thread in threads:
        thread.start()
    ready.wait()
    cpu, begin = time.process_time(), time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds or sum(counts) < LEAST_RUNS * len(runs):
        if not all(thread.is_alive() for thread in threads):
            raise MemoryError  # an engine that fails when it is asked twice at a time: its traceback is on stderr
        time.sleep(min(0.05, max(0.001, begin + seconds - now)))
    done, took, spent = sum(counts), time.perf_counter() - begin, time.process_time() - cpu
    over.set()
    for thread in threads:
        thread.join()
    return done / took, spent * 1e3 / done


def _stay_small(plan: Plan) -> None:
    """When memory runs out this process goes, and no other; and on the CPU it gets no more than is free now."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a container may not allow it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if plan.device == "cpu":
        free = next(row for row in Path("/proc/meminfo").read_text().splitlines() if row.startswith("MemAvailable"))
        limit = int(free.split()[1]) * 1024
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def _others_s() -> float:
    """Time of processors that somebody else had since the start: other processes, and other machines on this host."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - time.process_time()


def _peak_mib() -> float:
    # ru_maxrss would count what our parent had when it started us.
    rows = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmHWM"))
