"""Lines with live sources: one whose capture process hangs or dies is back soon, and the others notice nothing."""

import os
import signal
import time
from pathlib import Path

import pytest
from live import writer

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings, Decision
from edge.engine import Engine
from edge.frame import Frame
from edge.pipeline import Pipeline
from edge.sources.child import ChildSource
from service.line import Line

FPS = 5


class Noting(Pipeline):
    """Notes when it inspected which frame."""

    def inspect(self, frame: Frame) -> list[Decision]:
        self.seen = [*getattr(self, "seen", []), (time.monotonic(), frame.seq)]
        return super().inspect(frame)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGSEGV])
def test_one_fails_and_the_others_lose_no_frame(surface_demo: Path, number: int) -> None:
    bundle = load_bundle(surface_demo)
    engine = Engine(bundle, EngineSettings(threads=1), lines=2)
    clock = SystemClock()
    states: list[tuple[str, str, str]] = []
    lines, sources, pipelines = [], [], []
    for name in ("hurt", "sound"):
        decider = make_decider(DecideSettings(per="frame"), bundle.manifest.pass_label)
        pipelines.append(Noting(slot=engine.slot(), decider=decider, clock=clock))
        sources.append(ChildSource(name, writer(fps=FPS), clock))
        lines.append(
            Line(
                name,
                source=sources[-1],
                pipeline=pipelines[-1],
                emit=lambda _: None,
                on_change=lambda line: states.append((line.name, line.status.state, line.status.reason)),
                clock=clock,
            )
        )
    for line in lines:
        line.start()
    try:
        wait_for_frames(lines, 5)
        pid = sources[0].pid
        assert pid is not None
        hurt_at = time.monotonic()
        os.kill(pid, number)
        wait_for_frames(lines, 10)
        wait_for_frames(lines[:1], lines[0].counts.frames + 5)
    finally:
        for line in lines:
            line.stop()
        for line in lines:
            line.join()
    back = next(when for when, _ in pipelines[0].seen if when > hurt_at + 0.2)
    print(f"{signal.Signals(number).name}: the line inspects again after {back - hurt_at:.2f} s")
    told = [state for name, state, _ in states if name == "hurt"]
    assert [state for state, before in zip(told, ["", *told], strict=False) if state != before] == [
        "inspecting",
        "waiting",
        "inspecting",
        "waiting",
    ]
    assert [state for name, state, _ in states if name == "sound"] == ["inspecting", "waiting"], "until it was stopped"
    seqs = [seq for _, seq in pipelines[0].seen]
    assert seqs == sorted(set(seqs))
    sound = [seq for _, seq in pipelines[1].seen]
    assert sources[1].dropped == 0
    assert sound == list(range(len(sound)))


def wait_for_frames(lines: list[Line], count: int) -> None:
    deadline = time.monotonic() + 30
    while not all(line.counts.frames >= count for line in lines):
        assert time.monotonic() < deadline, [line.status for line in lines]
        time.sleep(0.02)
