"""A line at work: the thread `inspect-LINE`, and what it says of itself.

A line stands on its own: whatever happens to its source or its frames ends here and touches no other line.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from edge.ahead import Ahead
from edge.clock import Clock
from edge.decision import Decision, Ruling, Trigger
from edge.errors import BadFrameError, EdgeError, EngineError, PermanentError
from edge.frame import Frame
from edge.histogram import Stages
from edge.pipeline import Pipeline
from edge.sources import Source
from edge.trigger import Triggers
from edge.trust import TRUST_ALL, Doubt, Trust
from service.activity import Activity, Hang
from service.frames import Frames
from service.glimpse import Glimpse
from service.messages import Counts, LineState
from service.tally import Tally

log = logging.getLogger(__name__)

RETRY_S = (1.0, 30.0)
ENGINE_HELD_S = 30.0
"""An engine that works for so long is loaded again at once when it fails, and not after a pause."""
TRIGGER_POLL_S = 0.2
INSPECTION_HANGS_S = 30.0
LOADING_HANGS_S = 180.0
"""As long as systemd gives the start, which is mostly loading too."""
FRAME_NS = 33_333_333


@dataclass(frozen=True, slots=True)
class Status:
    """What a line is doing, why, and since when (UTC, nanoseconds)."""

    state: LineState
    reason: str
    since_ns: int


def _pauses_s() -> Iterator[float]:
    """How long to wait before each attempt."""
    pause_s, most_s = RETRY_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, most_s)


class Line:
    """One source, one pipeline, one thread.

    Args:
        name: of the line.
        source: opened, read and closed by this line's threads alone.
        pipeline: used by the inspecting thread alone.
        emit: takes a decision; it does not wait for the disk or the network.
        on_change: called when the state changes, from the inspecting thread.
        clock: the time.
        trust: whether frames can be trusted, asked by the inspecting thread alone; None: they always are.
        withhold: decisions on frames that cannot be trusted are not told; if not, they are `review`.
        looks_ahead: asks the model about frames of a file before their turn comes; None: nobody does.
        trigger_timeout_s: there is a decision when somebody asks for it, and not later than this; None: whenever the
            pipeline has one.
    """

    def __init__(
        self,
        name: str,
        *,
        source: Source,
        pipeline: Pipeline,
        emit: Callable[[Decision], None],
        on_change: Callable[["Line"], None],
        clock: Clock,
        trust: Trust | None = None,
        withhold: bool = False,
        looks_ahead: Ahead | None = None,
        trigger_timeout_s: float | None = None,
    ) -> None:
        self.name = name
        self._source = source
        self._pipeline = pipeline
        self._emit = emit
        self._on_change = on_change
        self._clock = clock
        self._trust = trust or Trust(TRUST_ALL, live=False)
        self._withhold = withhold
        self.triggers = Triggers(trigger_timeout_s, clock, self._answer) if trigger_timeout_s is not None else None
        self._stop = threading.Event()
        self.tally = Tally()
        self._inspecting = Activity(clock)
        self._frames = Frames(
            name,
            source,
            # A picture that is taken because somebody asks must not have been read before.
            ahead=source.ahead and not (self.triggers is not None and source.on_demand),
            looks_ahead=looks_ahead,
            clock=clock,
            stop=self._stop,
            inspecting=self._inspecting,
            missing=self._lose,
        )
        self._thread = threading.Thread(target=self._run, name=f"inspect-{name}")
        self.glimpse = Glimpse()
        """Of what it sees, for somebody who looks."""
        self.status = Status("waiting", "starting", clock.now_ns())
        self._engine_failed_ns = -int(ENGINE_HELD_S * 1e9) - 1
        self.failed = False
        """It ended because something must be mended first."""

    def start(self) -> None:
        """Start inspecting."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after the frame at hand."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    @property
    def has_begun(self) -> bool:
        """Whether it was started, some time."""
        return self._thread.ident is not None

    @property
    def is_alive(self) -> bool:
        """Whether it still inspects or tries to."""
        return self._thread.is_alive()

    @property
    def hang(self) -> Hang | None:
        """What one of its threads does for longer than it may; None as long as all is well, and after the end."""
        return (self._frames.hang or self._inspecting.hang) if self.is_alive else None

    @property
    def counts(self) -> Counts:
        """What it has counted so far."""
        return self.tally.counts(self._source.dropped)

    @property
    def stages(self) -> Stages:
        """How long each stage takes of its frames."""
        return self._pipeline.stages

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Why what it sees cannot be trusted; empty when it can."""
        return self._trust.doubts

    def take_latencies(self) -> dict[str, float | None]:
        """p50, p95 and p99 in milliseconds of the decisions since the last call, None without any."""
        return self.tally.take_latencies()

    def _run(self) -> None:
        retry_s = RETRY_S[0]
        while not self._stop.is_set():
            seen = self.tally.frames
            try:
                with self._frames.opened():
                    self._inspect_all()
            except PermanentError as error:
                self._fail(error)
            except EdgeError as error:
                # A source that worked for a while starts with the shortest pause again.
                retry_s = RETRY_S[0] if self.tally.frames > seen else min(retry_s * 2, RETRY_S[1])
                self._become("fault", str(error))
                self._inspecting.rests()
                self._stop.wait(retry_s)
                continue
            except Exception:
                log.exception("line %s: a mistake in edgecls, please report it", self.name)
                self._fail(PermanentError("a mistake in edgecls stopped this line: see the log"))
            return

    def _fail(self, error: PermanentError) -> None:
        self.failed = True
        self._become("fault", str(error))

    def _inspect_all(self) -> None:
        while not self._stop.is_set():
            if self.triggers is not None and self._source.on_demand:
                self._inspecting.does("waiting for a trigger", INSPECTION_HANGS_S)
                if not self.triggers.wait(TRIGGER_POLL_S):
                    self._become_as_trusted()  # a frame is taken when somebody asks for it
                    continue
            try:
                frame = self._frames.next()
                if frame is None:
                    break
                self._inspect(frame)
            except BadFrameError as error:
                log.warning("line %s: %s", self.name, error)
                self.tally.bad_frames += 1
        for decision in self._doubted(self._pipeline.finish(self.name)):
            self._tell(decision)
        self._become("waiting", "stopped" if self._stop.is_set() else "the source has ended")

    def _inspect(self, frame: Frame) -> None:
        """One frame; with triggers, only one that somebody waits for is looked at."""
        self._inspecting.does("inspecting a frame", INSPECTION_HANGS_S)
        now_ns = self._now_ns()
        if self._trust.judge(frame.image, now_ns):
            frame = replace(frame, doubt=self._trust.why)
        wanted = self.triggers is None or self.triggers.due(frame.captured_at_ns)
        decisions = self._look_at(frame) if wanted else []
        self.tally.frames += 1
        self._become_as_trusted()
        for decision in self._doubted(decisions):
            if self.triggers is None:
                self._tell(decision)
            else:
                # A picture that was taken because it was asked for answers one; what passes by answers all who wait.
                one = 1 if self._source.on_demand else None
                self.triggers.answer(decision.ruling, frame.captured_at_ns, one)
        self._trust.look(frame.image, now_ns)  # it takes longer than all the rest but the engine: nobody waits for it
        self.glimpse.take(frame)

    def _now_ns(self) -> int:
        """For `Trust`. Files that come as fast as they are inspected have no time: 30 frames count for a second."""
        return self.tally.frames * FRAME_NS if self._source.on_demand else self._clock.monotonic_ns()

    def _become_as_trusted(self) -> None:
        self._become("blind" if self._trust.doubts else "inspecting", self._trust.why)

    def _doubted(self, decisions: list[Decision]) -> list[Decision]:
        """What is told of these when the picture cannot be trusted. Who asks gets an answer in any case."""
        if not self._trust.doubts or not decisions:
            return decisions
        if self._withhold and self.triggers is None:
            self.tally.withheld += len(decisions)
            return []
        why = self._trust.why
        return [d._replace(ruling=d.ruling._replace(verdict="review", reason=why)) for d in decisions]

    def _look_at(self, frame: Frame) -> list[Decision]:
        """What the pipeline decides on it. An engine that fails is waited for, however long it takes."""
        while True:
            try:
                return self._pipeline.inspect(frame)
            except EngineError as error:
                self._wait_for_the_engine(error)
            if self._source.live or self._stop.is_set():
                return []  # what it shows has long passed

    def _wait_for_the_engine(self, error: EngineError) -> None:
        now_ns = self._clock.monotonic_ns()
        pauses_s = _pauses_s()
        if now_ns - self._engine_failed_ns > ENGINE_HELD_S * 1_000_000_000:
            pauses_s = chain((0.0,), pauses_s)  # another line may have it back already, or the CPU is at hand
        self._engine_failed_ns = now_ns
        for pause_s in pauses_s:
            self._become("fault", str(error))
            self._inspecting.rests()
            if self._stop.wait(pause_s):
                return
            self._inspecting.does("loading the engine again", LOADING_HANGS_S)
            try:
                self._pipeline.restore()
            except EngineError as still:
                error = still
            else:
                self._inspecting.does("inspecting a frame", INSPECTION_HANGS_S)
                return

    def _answer(self, trigger: Trigger, ruling: Ruling) -> None:
        now_ns = self._clock.now_ns()
        total_ms = (now_ns - ruling.evidence.captured_at_ns) / 1e6 if ruling.evidence else None
        self._tell(Decision(self.name, ruling, now_ns, total_ms, trigger))

    def _tell(self, decision: Decision) -> None:
        """Count a decision and hand it over. Called by the inspecting thread, and for time-outs by others."""
        self.tally.count(decision)
        self._emit(decision)

    def _lose(self, why: str) -> None:
        """There are no frames."""
        self.tally.source_losses += self.status.state in ("inspecting", "blind")
        self._become("waiting", why)

    def _become(self, state: LineState, reason: str) -> None:
        if (state, reason) == (self.status.state, self.status.reason):
            return
        self.status = Status(state, reason, self._clock.now_ns())
        level = logging.ERROR if state == "fault" else logging.INFO
        fields = {"line": self.name, "state": state}
        log.log(level, "line %s: %s%s", self.name, state, f": {reason}" if reason else "", extra=fields)
        self._on_change(self)
