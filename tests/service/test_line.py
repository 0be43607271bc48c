"""A line whose source misbehaves, on fakes and a real pipeline."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeClock, ScriptedSource

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings, Decision
from edge.engine import Engine
from edge.errors import BadFrameError, SourceError, SourceNotUsableError
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from edge.sources import Source
from service.line import Line


@pytest.fixture
def pipeline(surface_demo: Path) -> Pipeline:
    bundle = load_bundle(surface_demo)
    return Pipeline(
        slot=Engine(bundle, EngineSettings(threads=1)).slot(),
        decider=make_decider(DecideSettings(per="frame"), bundle.manifest.pass_label),
        clock=SystemClock(),
    )


def work(
    source: Source,
    pipeline: Pipeline,
    until: Callable[[Line], bool] = lambda line: not line.is_alive,
) -> tuple[Line, list[tuple[str, str]], list[Decision]]:
    states: list[tuple[str, str]] = []
    decisions: list[Decision] = []
    line = Line(
        "line1",
        source=source,
        pipeline=pipeline,
        emit=decisions.append,
        on_change=lambda line: states.append((line.status.state, line.status.reason)),
        clock=SystemClock(),
    )
    line.start()
    deadline = time.monotonic() + 20
    while not until(line) and time.monotonic() < deadline:
        time.sleep(0.01)
    line.stop()
    line.join()
    return line, states, decisions


@pytest.mark.parametrize("live", [True, False])
def test_a_source_that_is_away_is_waited_for(pipeline: Pipeline, live: bool) -> None:
    source = ScriptedSource([None, SourceError("unplugged"), SourceError("unplugged"), None, None], live=live)
    line, states, decisions = work(source, pipeline)
    assert states == [
        ("inspecting", ""),
        ("waiting", "unplugged"),
        ("inspecting", ""),
        ("waiting", "the source has ended"),
    ]
    assert (source.opened, source.closed, len(decisions), line.failed) == (1, 1, 3, False)


@pytest.mark.parametrize("live", [True, False])
def test_nothing_yet_changes_no_state(pipeline: Pipeline, live: bool) -> None:
    script = [None, TimeoutError(), TimeoutError(), None]
    line, states, decisions = work(ScriptedSource(script, live=live), pipeline)
    assert states == [("inspecting", ""), ("waiting", "the source has ended")]
    assert (len(decisions), line.failed) == (2, False)


@pytest.mark.parametrize("live", [True, False])
def test_a_line_stops_while_its_source_is_away(pipeline: Pipeline, live: bool) -> None:
    source = ScriptedSource([SourceError("unplugged")] * 10**6, live=live)
    line, states, _ = work(source, pipeline, lambda line: line.status.reason == "unplugged")
    assert states == [("waiting", "unplugged"), ("waiting", "stopped")]
    assert not line.failed


def test_a_source_that_cannot_be_used_ends_the_line(pipeline: Pipeline) -> None:
    line, states, _ = work(ScriptedSource([SourceNotUsableError("no such file")]), pipeline)
    assert states == [("fault", "no such file")]
    assert line.failed


def test_bad_frames_are_counted(pipeline: Pipeline) -> None:
    line, states, decisions = work(ScriptedSource([BadFrameError("torn"), None, BadFrameError("torn"), None]), pipeline)
    assert (line.counts.bad_frames, line.counts.frames, len(decisions)) == (2, 2, 2)
    assert [state for state, _ in states] == ["inspecting", "waiting"]


def test_a_live_source_has_the_newest_frame_itself(pipeline: Pipeline) -> None:
    source = ScriptedSource([None] * 50, live=True)
    source.dropped = 7
    line, states, decisions = work(source, pipeline)
    assert (line.counts.frames, line.counts.dropped) == (50, 7)
    assert decisions[-1].ruling.evidence is not None
    assert decisions[-1].ruling.evidence.seq == 49
    assert states[-1] == ("waiting", "the source has ended")
    assert not [t for t in threading.enumerate() if "line1" in t.name]


class Crashing(ScriptedSource):
    """Raises something that nobody foresaw, once."""

    def read(self, into: Image | None = None) -> Frame | None:
        if self.opened == 1:
            raise ValueError("unforeseen")
        return super().read(into)


def test_a_source_that_crashes_is_opened_again(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    line, states, _ = work(Crashing([None, None]), pipeline)
    assert states[0] == ("fault", "the source failed (unforeseen): see the log")
    assert states[-1] == ("waiting", "the source has ended")
    assert not line.failed
    assert "please report it" in caplog.text


class Stuck(ScriptedSource):
    """Does not return from reading until it is let go."""

    def __init__(self) -> None:
        super().__init__([], live=True)
        self.reading, self.free = threading.Event(), threading.Event()

    def read(self, into: Image | None = None) -> Frame | None:
        self.reading.set()
        self.free.wait()
        return super().read(into)


def test_a_source_that_hangs_is_noticed_by_its_line(pipeline: Pipeline) -> None:
    source, clock = Stuck(), FakeClock()
    line = Line(
        "line1",
        source=source,
        pipeline=pipeline,
        emit=lambda _: None,
        on_change=lambda _: None,
        clock=clock,
    )
    line.start()
    source.reading.wait()
    clock.sleep(121)
    assert str(line.hang) == "reading a frame has not ended for 121 s"
    source.free.set()
    line.join()
    assert line.hang is None, "it has ended"


def test_latencies_are_told_once(pipeline: Pipeline) -> None:
    line, _, _ = work(ScriptedSource([None] * 5), pipeline)
    figures = line.take_latencies()
    assert figures["p50"] is not None
    assert line.take_latencies() == {"p50": None, "p95": None, "p99": None}
