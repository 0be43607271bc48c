"""What a capture process costs, and how old a frame is when it is decided.

    python tests/benchmarks/bench_sources.py --models DIR [--latency] [--frames N] [--model NAME]

The same frames of 1280x720 are read in the process and through a capture process: raw from a program (bgr24 and
yuv420), and as H.264 from an RTSP server where Debian's gst-rtsp-server is installed. Only reading and handing over
counts, not the program or the server. Then a line with a source that is faster than its engine, and pictures that are
judged (`trust`) as in the daemon: milliseconds from grab to decision, early and late, beside the engine's own, since a
machine that does other work holds up both.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from harness import Table, asked, bundle, in_turn, main, ratio
from live import writer
from network_camera import NetworkCamera, needs_rtsp_server

from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings, Decision
from edge.engine import Engine
from edge.errors import SourceError
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from edge.sources import RtspSettings
from edge.sources.child import ChildSource
from edge.sources.live import LiveSettings, kind_of, make_live
from edge.trust import Trust, TrustSettings
from service.line import Line

FPS = 30
TICKS = os.sysconf("SC_CLK_TCK")
WARM = 30


def in_process(settings: LiveSettings, frames: int) -> float:
    """CPU seconds per frame, read into three buffers in turn as the capture process does."""
    source = make_live("bench", kind_of(settings), asdict(settings), SystemClock())
    buffers: list[Image] = [np.empty((720, 1280, 3), np.uint8) for _ in range(3)]
    source.open()
    for number in range(WARM):
        source.read(buffers[number % 3])
    begin = time.process_time()
    for number in range(frames):
        source.read(buffers[number % 3])
    cost = time.process_time() - begin
    source.close()
    return cost / frames


def next_of(source: ChildSource) -> Frame:
    while True:
        try:
            if (frame := source.read()) is not None:
                return frame
        except (TimeoutError, SourceError):
            continue


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Child:
    """Turns of the same through a capture process, and what it takes of memory."""

    def __init__(self) -> None:
        self.mib = 0.0

    def __call__(self, settings: LiveSettings, frames: int) -> float:
        source = ChildSource("bench", settings, SystemClock())
        source.open()
        for _ in range(WARM):
            next_of(source)
        pid = source.pid
        assert pid is not None
        begin, first = time.process_time() + cpu_of(pid), next_of(source).seq
        for _ in range(frames):
            last = next_of(source).seq
        cost = time.process_time() + cpu_of(pid) - begin
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        self.mib = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        source.close()
        return cost / (last - first)


def costs(args: argparse.Namespace, folder: Path) -> Table:
    table = Table(
        f"Reading 1280x720 at {FPS} fps",
        (
            "source",
            "in the process, CPU ms per frame",
            "through a capture process",
            "ratio",
            "its MiB (Pss)",
        ),
    )
    frames = max(60, int(args.seconds * FPS))
    raw = writer(1280, 720, FPS)
    kinds: dict[str, LiveSettings] = {
        "command, bgr24": raw,
        # The same bytes taken for twice as many frames: what they show is no matter.
        "command, yuv420": replace(raw, pixel_format="yuv420"),
    }
    camera = NetworkCamera(None, folder)
    try:
        needs_rtsp_server()
    except BaseException as error:  # noqa: BLE001  # pytest's way to skip
        table.notes.append(str(error))
    else:
        camera.start(1280, 720, FPS)
        time.sleep(1)
        kinds["rtsp, H.264"] = RtspSettings(camera.address)
    for name, settings in kinds.items():
        child = Child()
        turns: dict[str, Callable[[], float]] = {
            "in": lambda settings=settings: in_process(settings, frames),  # type: ignore[misc]  # mypy infers no defaults of lambdas
            "through": lambda settings=settings, child=child: child(settings, frames),  # type: ignore[misc]  # mypy infers no defaults of lambdas
        }
        found = in_turn(turns, args.rounds)
        ones, others = (1000 * float(np.median(found[key])) for key in ("in", "through"))
        table.add(
            name, f"{ones:.3f}", f"{others:.3f}", f"{ratio(found['through'], found['in']):.2f}", f"{child.mib:.0f}"
        )
    camera.close()
    return table


def latency(args: argparse.Namespace) -> Table:
    model = bundle(args.models, args.model)
    engine = Engine(model, asked("onnxruntime", "int8", threads=1))
    decider = make_decider(DecideSettings(per="frame"), model.manifest.pass_label)
    decisions: list[Decision] = []
    clock = SystemClock()
    source = ChildSource("bench", writer(320, 240, 400), clock)
    line = Line(
        "bench",
        source=source,
        pipeline=Pipeline(slot=engine.slot(), decider=decider, clock=clock),
        emit=decisions.append,
        on_change=lambda _: None,
        clock=clock,
        trust=Trust(TrustSettings(), live=True),
    )
    line.start()
    while len(decisions) < args.frames:
        time.sleep(0.1)
    line.stop()
    line.join()
    told = decisions[: args.frames]
    inside = np.array([d.ruling.evidence.preprocess_ms + d.ruling.evidence.infer_ms for d in told if d.ruling.evidence])
    total = np.array([d.total_ms for d in told if d.total_ms is not None])
    engine_ms = float(np.median(inside))
    table = Table(
        f"From grab to decision: {model.manifest.name}, one thread, {engine_ms:.2f} ms; source 320x240 at 400 fps",
        (
            "frames",
            "p50, ms",
            "p99, ms",
            "p99 in engine times",
            "engine's own p99, ms",
            "p99 over that",
            "all but the engine: p50",
            "p99, in engine times",
        ),
    )
    part = max(1, len(total) // 10)
    cuts = {"all": slice(None), f"the first {part}": slice(part), f"the last {part}": slice(-part, None)}
    for name, cut in cuts.items():
        (p50, p99), own = np.percentile(total[cut], (50, 99)), float(np.percentile(inside[cut], 99))
        rest = np.percentile(total[cut] - inside[cut], (50, 99)) / engine_ms
        times = (p50, p99, p99 / engine_ms, own, p99 / own, *rest)
        table.add(f"{name} of {len(total)}", *(f"{value:.2f}" for value in times))
    table.notes.append(f"{source.dropped} frames were dropped; wanted of p99: two engine times, not growing")
    return table


def measure(args: argparse.Namespace) -> list[Table]:
    with tempfile.TemporaryDirectory() as folder:
        return [*([] if args.latency else [costs(args, Path(folder))]), latency(args)]


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        frames={"type": int, "default": 10_000, "help": "inspected (default: %(default)s)"},
        latency={"action": "store_true", "help": "no table of costs"},
        model={"default": "resnet18", "help": "that inspects them (default: %(default)s)"},
    )
