"""Four lines on one model: the sum of their frames per second against what the engine gives with as many at a time.

`python tests/benchmarks/bench_lines.py --models DIR`: an engine for four lines, four threads each with a pipeline of
its own on frames in memory; and the same four threads with nothing but the bound engine. Both take turns. Beside it the
engine in throughput mode by itself: as many threads as it has streams.
"""

import argparse
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from harness import Table, asked, bundle, in_turn, main, ratio

from edge.backends import BACKENDS
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings
from edge.engine import Engine
from edge.pipeline import Pipeline
from service.bench import frames

LINES = 4
WANTED = 0.95


def together(steps: Sequence[Callable[[], object]], seconds: float) -> float:
    """Calls per second of all threads together, each with one of the steps."""
    counts = [0] * len(steps)
    start, stop = threading.Barrier(len(steps) + 1), threading.Event()

    def work(number: int) -> None:
        step = steps[number]
        step()
        start.wait()
        while not stop.is_set():
            step()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,), name=f"line{number}") for number in range(len(steps))]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def pipeline_step(engine: Engine) -> Callable[[], object]:
    """One frame through a pipeline of its own."""
    manifest = engine.bundle.manifest
    spec = manifest.input.spec
    decider = make_decider(DecideSettings(per="frame"), manifest.pass_label, manifest.absent_label)
    pipeline = Pipeline(slot=engine.slot(), decider=decider, clock=SystemClock())
    source = frames.Memory(frames.pictures(engine.bundle, (spec.width, spec.height)))
    return lambda: pipeline.inspect(source.read())


def measure(args: argparse.Namespace) -> list[Table]:
    table = Table(
        f"{args.model}, INT8: {LINES} lines on one engine",
        ("engine", "lines fps, all together", "engine fps", "share", "wanted"),
        notes=["`engine`: the same engine without pipelines, as many threads as it has streams."],
    )
    model = bundle(args.models, args.model)
    for backend in BACKENDS:
        engine = Engine(model, asked(backend, "int8"), lines=LINES)
        lines = [pipeline_step(engine) for _ in range(LINES)]
        bare = [engine.slot().infer for _ in range(engine.plan.streams)]
        found = in_turn(
            {"lines": lambda: together(lines, args.seconds), "bare": lambda: together(bare, args.seconds)},  # noqa: B023  # called in this turn of the loop
            args.rounds,
        )
        fps = {name: float(np.median(values)) for name, values in found.items()}
        table.add(str(engine.plan), fps["lines"], fps["bare"], ratio(found["lines"], found["bare"]), WANTED)
    return [table]


if __name__ == "__main__":
    main(__doc__, measure, model={"default": "resnet18", "help": "(default: %(default)s)"})
