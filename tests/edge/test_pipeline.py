from pathlib import Path
from typing import Literal

import pytest
from fakes import FakeClock

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.clock import SystemClock, rfc3339
from edge.deciders import make_decider
from edge.decision import DecideSettings
from edge.engine import Engine
from edge.errors import BadFrameError
from edge.frame import Frame
from edge.pipeline import Pipeline
from edge.preprocess import Roi
from edge.sources import VideoSettings, make_source


def pipeline(path: Path, roi: Roi | None = None, per: Literal["frame", "change"] = "frame") -> Pipeline:
    bundle = load_bundle(path)
    return Pipeline(
        slot=Engine(bundle, EngineSettings(threads=1)).slot(),
        decider=make_decider(DecideSettings(per=per), bundle.manifest.pass_label),
        clock=SystemClock(),
        roi=roi,
    )


def frames(clip: Path, count: int) -> list[Frame]:
    source = make_source("line1", VideoSettings(clip, pace="asap"), SystemClock())
    source.open()
    found: list[Frame] = []
    while len(found) < count and (frame := source.read()) is not None:
        found.append(Frame(frame.line, frame.seq, frame.image.copy(), frame.captured_at_ns))
    source.close()
    return found


def test_a_decision_carries_its_evidence(surface_demo: Path, clip: Path) -> None:
    frame = frames(clip, 1)[0]
    (decision,) = pipeline(surface_demo).inspect(frame)
    evidence = decision.ruling.evidence
    assert evidence is not None
    assert (decision.line, evidence.seq, evidence.width, evidence.height) == ("line1", 0, 320, 240)
    assert evidence.captured_at_ns == frame.captured_at_ns < decision.decided_at_ns
    assert set(evidence.classification.labels) == {"ok", "scratch", "stain", "deformation"}
    assert sum(evidence.classification.scores) == pytest.approx(1, abs=1e-3)
    assert decision.total_ms is not None
    assert 0 < evidence.infer_ms < decision.total_ms


def test_mostly_there_is_nothing_to_tell(surface_demo: Path, clip: Path) -> None:
    inspect = pipeline(surface_demo, per="change").inspect
    frame = frames(clip, 1)[0]
    answers = [len(inspect(frame)) for _ in range(6)]
    assert answers == [0, 0, 1, 0, 0, 0]


def test_roi_that_does_not_fit_is_a_bad_frame(surface_demo: Path, clip: Path) -> None:
    with pytest.raises(BadFrameError, match="does not fit into the 320x240 frame"):
        pipeline(surface_demo, roi=Roi(300, 0, 100, 100)).inspect(frames(clip, 1)[0])


def test_times_are_written_in_utc_with_microseconds() -> None:
    assert rfc3339(1_763_783_630_123_456_789) == "2025-11-22T03:53:50.123456Z"
    assert rfc3339(FakeClock().now_ns()).endswith("Z")
