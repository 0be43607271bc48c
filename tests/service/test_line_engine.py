"""A line whose engine fails: a real one, that of the NCS2 on the CPU, whose worker process can be killed."""

import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import ScriptedSource

from edge.ahead import Ahead
from edge.backends import Backend, EngineSettings, Plan, load_backend
from edge.backends.ncs2 import Ncs2Backend, Ncs2Settings
from edge.bundle import Bundle, load_bundle
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings, Decision
from edge.engine import Engine
from edge.errors import EngineError
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from service.line import Line


class Stick:
    """A device that can be pulled and plugged in: without it the model cannot be loaded."""

    def __init__(self) -> None:
        self.there = True
        self.loaded: list[Backend] = []

    def load(self, bundle: Bundle, plan: Plan, settings: EngineSettings) -> Backend:
        if plan.device != "ncs2":
            return load_backend(bundle, plan, settings)
        if not self.there:
            raise EngineError("no NCS2 stick found")
        spec = importlib.util.find_spec("openvino")
        assert spec is not None
        assert spec.origin is not None
        ncs2 = Ncs2Settings(Path(spec.origin).parent, "CPU")
        backend = Ncs2Backend(bundle.file(plan.precision, plan.backend), bundle.manifest.input.spec, plan, ncs2)
        self.loaded.append(backend)
        return backend

    def pull(self) -> None:
        self.there = False
        for pid in workers():
            os.kill(pid, signal.SIGKILL)


def workers() -> list[int]:
    command = ["pgrep", "--parent", str(os.getpid()), "--full", "edge.ncs2.worker"]
    return [int(pid) for pid in subprocess.run(command, capture_output=True, check=False).stdout.split()]


@pytest.fixture
def stick() -> Iterator[Stick]:
    stick = Stick()
    yield stick
    for backend in stick.loaded:
        backend.close()


class Inspected:
    """A line at work, and what it told."""

    def __init__(self, surface_demo: Path, stick: Stick, frames: int, *, ahead: bool = False, **asked: bool) -> None:
        bundle = load_bundle(surface_demo)
        settings = EngineSettings(device="ncs2", openvino_dir=Path(), **asked)  # type: ignore[arg-type]  # switches
        self.engine = Engine(bundle, settings, lines=2 if ahead else 1, load=stick.load)
        self.states: list[tuple[str, str]] = []
        self.decisions: list[Decision] = []
        self.line = Line(
            "line1",
            source=Slow(frames),
            pipeline=Pipeline(
                slot=self.engine.slot(),
                decider=make_decider(DecideSettings(per="frame"), bundle.manifest.pass_label),
                clock=SystemClock(),
            ),
            emit=self.decisions.append,
            on_change=lambda line: self.states.append((line.status.state, line.status.reason)),
            clock=SystemClock(),
            looks_ahead=Ahead(self.engine, None, SystemClock()) if ahead else None,
        )
        self.line.start()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, (self.states, len(self.decisions))
            time.sleep(0.01)


class Slow(ScriptedSource):
    """Leaves the test time to pull the stick."""

    def __init__(self, frames: int) -> None:
        super().__init__([None] * frames)

    def read(self, into: Image | None = None) -> Frame | None:
        time.sleep(0.01)
        return super().read(into)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stick_that_is_pulled_puts_the_line_in_fault_until_it_is_back(
    surface_demo: Path, stick: Stick, ahead: bool
) -> None:
    run = Inspected(surface_demo, stick, frames=60, ahead=ahead)
    run.until(lambda: len(run.decisions) > 5)
    stick.pull()
    run.until(lambda: ("fault", "no NCS2 stick found") in run.states)
    stick.there = True
    run.line.join()
    assert [d.ruling.evidence.seq for d in run.decisions if d.ruling.evidence] == list(range(60)), "a frame was lost"
    words = [state for state, _ in run.states]
    assert words == ["inspecting", "fault", "fault", "inspecting", "waiting"]
    met_first = "the NCS2 has no worker any more" if ahead else "the NCS2 worker was ended by SIGKILL"
    assert met_first in run.states[1][1]


def test_a_stick_that_is_not_there_yet_is_waited_for(surface_demo: Path, stick: Stick) -> None:
    stick.there = False
    run = Inspected(surface_demo, stick, frames=5)
    run.until(lambda: run.states == [("fault", "no NCS2 stick found")])
    assert run.decisions == []
    stick.there = True
    run.line.join()
    assert len(run.decisions) == 5


def test_with_a_fall_back_it_goes_on_with_the_cpu(
    surface_demo: Path, stick: Stick, caplog: pytest.LogCaptureFixture
) -> None:
    run = Inspected(surface_demo, stick, frames=30, fall_back_to_cpu=True)
    run.until(lambda: len(run.decisions) > 5)
    assert (run.engine.plan.device, run.engine.precision) == ("ncs2", "fp32")
    stick.pull()
    run.line.join()
    assert len(run.decisions) == 30
    assert (run.engine.plan.device, run.engine.precision) == ("cpu", "int8")
    assert "no NCS2 stick found: falling back to the CPU, as engine.fall_back_to_cpu allows" in caplog.text


def test_with_a_fall_back_it_starts_on_the_cpu(surface_demo: Path, stick: Stick) -> None:
    stick.there = False
    run = Inspected(surface_demo, stick, frames=3, fall_back_to_cpu=True)
    run.line.join()
    assert ([state for state, _ in run.states], run.engine.plan.device) == (["inspecting", "waiting"], "cpu")
