"""Pictures of a file that the model sees before their turn comes."""

from pathlib import Path

import numpy as np
import pytest

from edge.ahead import Ahead
from edge.backends import BackendName, EngineSettings
from edge.bundle import load_bundle
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings
from edge.engine import Engine
from edge.errors import EngineError
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from edge.preprocess import Roi

ROI = Roi(10, 20, 200, 150)


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine(request: pytest.FixtureRequest, surface_demo: Path) -> Engine:
    backend: BackendName = request.param
    return Engine(load_bundle(surface_demo), EngineSettings(backend=backend), lines=2, cores=2)


def pictures(count: int) -> list[Image]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (180, 320, 3), np.uint8) for _ in range(count)]


def test_the_decisions_are_those_of_one_after_the_other(engine: Engine) -> None:
    decider = make_decider(DecideSettings(per="frame"), "ok")
    pipeline = Pipeline(slot=engine.slot(), decider=decider, clock=SystemClock(), roi=ROI)
    ahead = Ahead(engine, ROI, SystemClock())
    frames = [Frame("line1", seq, image, 1) for seq, image in enumerate(pictures(20))]
    with ahead.at_work():
        answers = [ahead.begin(frame.image) for frame in frames]
        for frame, answer in zip(frames, answers, strict=True):
            (alone,) = pipeline.inspect(frame)
            (together,) = pipeline.inspect(Frame("line1", frame.seq, frame.image, 1, answer=answer))
            assert answer.result() is not None
            assert together.ruling.evidence is not None
            assert alone.ruling.evidence is not None
            assert together.ruling.evidence.classification == alone.ruling.evidence.classification
            assert together.ruling.evidence.infer_ms > 0


def test_what_cannot_be_asked_ahead_has_no_answer(engine: Engine) -> None:
    ahead = Ahead(engine, ROI, SystemClock())
    with ahead.at_work():
        assert ahead.begin(np.zeros((100, 100, 3), np.uint8)).result() is None
        assert ahead.begin(pictures(1)[0]).result() is not None


def test_an_engine_that_was_loaded_again_is_used_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = Ahead(engine, None, SystemClock())
    (picture,) = pictures(1)

    def fails() -> None:
        raise EngineError("the device is gone")

    with ahead.at_work():
        places = [ahead._places.get() for _ in range(2)]
        for place in places:
            monkeypatch.setattr(place._slot, "_run", fails)
            ahead._places.put(place)
        answers = [ahead.begin(picture).result() for _ in range(6)]
    assert answers[0] is None
    assert answers[-1] is not None
