"""Measuring engines and pipelines side by side.

Every candidate is loaded, then all take turns, round after round, every second round backwards: what a device does
meanwhile (a higher clock, a warmer case, another program) happens to all of them. Figures are medians of the rounds.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from edge.backends import EngineSettings, Run
from edge.bundle import Bundle
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings
from edge.engine import Engine
from edge.errors import BackendError, BundleError, EngineError, SourceError
from edge.pipeline import Pipeline
from edge.sources import Source
from service.bench.report import LOADS, STAGES, Candidate, Load, Percentiles, Refused, Result, Round

ROUNDS = 5
WARM_UP = {"engine": 2, "model_size": 2, "hd": 2, "video": 20}
"""Frames before each turn that do not count; with a video more, for some have been read ahead by then."""
SETTLE_S = 0.02
"""Before each turn: threads of the one before that spin have gone to sleep by then."""


@dataclass
class Turns:
    """What one load of one candidate has given so far. `samples`: nanoseconds of each frame, per stage."""

    rounds: list[Round] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)


class Contender:
    """One candidate: its engine, and a pipeline on it.

    Raises:
        BackendError: what is asked for is not there, or refuses the model.
        BundleError: the bundle has no such file, or the scores are not the golden ones.
        EngineError: the engine failed.
    """

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        engine = Engine(bundle, settings)
        slot = engine.slot()
        manifest = bundle.manifest
        decider = make_decider(DecideSettings(per="frame"), manifest.pass_label, manifest.absent_label)
        self.plan = engine.plan
        self.tiled = manifest.input.resize == "tile"
        self.run: Run
        # The same arrays as the pipeline's: where memory lies makes a difference to some kernels.
        self.run, _ = engine.bind(slot.input, *slot.outputs)
        self.pipeline = Pipeline(slot=slot, decider=decider, clock=SystemClock())
        self.turns: dict[Load, Turns] = {load: Turns() for load in LOADS}


def load_all(
    bundle: Bundle, wanted: Sequence[EngineSettings], tick: Callable[[], None] = lambda: None
) -> tuple[list[Contender], list[Refused]]:
    """Load every candidate; those that do not work, or fail the golden check, are told."""
    contenders, refused = [], []
    for settings in wanted:
        try:
            contenders.append(Contender(bundle, settings))
        except (BackendError, BundleError, EngineError) as error:
            name = f"{settings.backend} {settings.precision} on {settings.device}, threads {settings.threads}"
            refused.append(Refused(name, str(error)))
        tick()
    return contenders, refused


def race(
    contenders: Sequence[Contender],
    sources: dict[Load, Source],
    seconds: float,
    rounds: int = ROUNDS,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Let all contenders take their turns; `engine` is always one of the loads, the others have a source.

    Args:
        contenders: what is measured; it keeps what was measured.
        sources: for each load of the pipeline. They are opened for each turn, so that none reads ahead in another's.
        seconds: of each load of each contender, all rounds together.
        rounds: how many turns.
        tick: called after each turn.

    Raises:
        EdgeError: an engine or a source failed meanwhile.
    """
    everyone: list[tuple[Contender, Load]] = [
        (contender, load) for contender in contenders for load in ("engine", *sources)
    ]
    for number in range(rounds):
        for contender, load in reversed(everyone) if number % 2 else everyone:
            turns = contender.turns[load]
            time.sleep(SETTLE_S)
            if load == "engine":
                turns.rounds.append(engine_turn(contender.run, seconds / rounds, turns.samples))
            else:
                turns.rounds.append(
                    pipeline_turn(contender.pipeline, sources[load], seconds / rounds, turns.samples, WARM_UP[load])
                )
            tick()


def engine_turn(run: Run, seconds: float, samples: dict[str, list[float]]) -> Round:
    """The bound engine alone, for so long."""
    took = samples.setdefault("infer", [])
    for _ in range(WARM_UP["engine"]):
        run()
    clock, frames, cpu = time.perf_counter_ns, 0, time.process_time()
    begin = before = clock()
    end = begin + seconds * 1e9
    while before < end:
        run()
        after = clock()
        took.append(after - before)
        frames, before = frames + 1, after
    return Round(frames, (before - begin) / 1e9, time.process_time() - cpu)


def pipeline_turn(
    pipeline: Pipeline, source: Source, seconds: float, samples: dict[str, list[float]], warm_up: int
) -> Round:
    """Frames from a source through the pipeline, for so long; the decisions are counted and dropped."""
    read, preprocess, infer, rest, total = (samples.setdefault(stage, []) for stage in STAGES)
    source.open()
    try:
        for _ in range(warm_up):
            _inspected(pipeline, source)
        clock, frames, cpu = time.perf_counter_ns, 0, time.process_time()
        begin = before = clock()
        end = begin + seconds * 1e9
        while before < end:
            frame = source.read()
            if frame is None:
                raise SourceError("the video ended while it was measured: give one that can be read again and again")
            there = clock()
            (decision,) = pipeline.inspect(frame)
            after = clock()
            evidence = decision.ruling.evidence
            assert evidence is not None  # noqa: S101  # `per: frame` always has one
            read.append(there - before)
            preprocess.append(evidence.preprocess_ms * 1e6)
            infer.append(evidence.infer_ms * 1e6)
            rest.append(after - there - (evidence.preprocess_ms + evidence.infer_ms) * 1e6)
            total.append(after - before)
            frames, before = frames + 1, after
        return Round(frames, (before - begin) / 1e9, time.process_time() - cpu)
    finally:
        source.close()


def candidate(contender: Contender, peak_mib: float | None) -> Candidate:
    """What the turns of a contender come to."""
    engine = contender.turns["engine"]
    results: dict[Load, Result] = {}
    for load, turns in contender.turns.items():
        if not turns.rounds:
            continue
        percent, us = None, None
        # With tiles the pipeline gives the engine more to do than one picture: to compare them would say nothing.
        if load != "engine" and not contender.tiled:
            # Of each round, in which both were measured next to each other.
            pairs = list(zip(turns.rounds, engine.rounds, strict=True))
            percent = median((mine.ms / bare.ms - 1) * 100 for mine, bare in pairs)
            us = median((mine.ms - bare.ms) * 1e3 for mine, bare in pairs)
        results[load] = Result(
            fps=median(one.fps for one in turns.rounds),
            cpu_ms=median(one.cpu_seconds / one.frames * 1e3 for one in turns.rounds),
            stages={stage: percentiles(took) for stage, took in turns.samples.items()},
            rounds=turns.rounds,
            overhead_percent=percent,
            overhead_us=us,
        )
    return Candidate(contender.plan, results, peak_mib)


def percentiles(nanoseconds: Sequence[float]) -> Percentiles:
    """In milliseconds."""
    p50, p95, p99 = (float(value) / 1e6 for value in np.percentile(nanoseconds, (50, 95, 99)))
    return Percentiles(p50, p95, p99)


def _inspected(pipeline: Pipeline, source: Source) -> None:
    frame = source.read()
    if frame is not None:
        pipeline.inspect(frame)
