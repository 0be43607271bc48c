"""Parts on a belt under test: rendered clips through the whole pipeline, and drawn pictures through a decider."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.classification import Classification
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import Decider, DecideSettings, Decision, Evidence, Ruling
from edge.engine import Engine
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from edge.sources import VideoSettings, make_source
from models.score_parts import Told, read_truth, score
from models.synth_line import render_line
from models.synth_plan import FPS, Variety

FRAME_NS = int(1e9 / FPS)
GOOD = Classification(("ok", "scratch"), (0.9, 0.1))


def film(folder: Path, seed: int, parts: int, **options: Any) -> Path:
    """Render a line; its truth lies beside the video."""
    video = folder / "line.mp4"
    render_line(video, truth_beside(video), seed, parts, **options)
    return video


def truth_beside(video: Path) -> Path:
    return video.with_suffix(".truth.json")


def inspected(video: Path, bundle_path: Path, change: Callable[[Frame], Frame] = lambda frame: frame) -> list[Decision]:
    """What a line with `per: part` and the INT8 model decides on a video; its time is that of the video."""
    bundle = load_bundle(bundle_path)
    pipeline = Pipeline(
        slot=Engine(bundle, EngineSettings(precision="int8", threads=1)).slot(),
        decider=make_decider(DecideSettings(), bundle.manifest.pass_label, bundle.manifest.absent_label),
        clock=SystemClock(),
    )
    source = make_source("line1", VideoSettings(video, pace="asap"), SystemClock())
    source.open()
    decisions = []
    while (frame := source.read()) is not None:
        decisions += pipeline.inspect(change(replace(frame, captured_at_ns=frame.seq * FRAME_NS)))
    source.close()
    return decisions + pipeline.finish("line1")


def scored(video: Path, decisions: Iterable[Decision]) -> dict[str, Any]:
    """The report of `python -m models score-parts`. Every decision on a clip must have its evidence."""
    told = []
    for decision in decisions:
        evidence = decision.ruling.evidence
        assert evidence is not None
        label = evidence.classification.label
        told.append(Told(evidence.seq, decision.ruling.verdict, label, decision.ruling.reason or None))
    return score(read_truth(truth_beside(video)), told)


def calm(**changes: float) -> Variety:
    """A line on which nothing happens but what is asked for."""
    nothing = {"touching": 0.0, "stops": 0.0, "backs": 0.0, "begin_in_view": 0.0, "end_in_view": 0.0}
    return Variety(**{**nothing, **changes})


WIDTH, HEIGHT = 320, 240
BELT, PART = (60, 66, 62), (170, 176, 180)


def picture(*parts: tuple[int, int], light: float = 1.0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image:
    """A belt with parts on it, each from one x to another, in the middle of the height."""
    width, height = size
    image = np.full((height, width, 3), BELT, np.float32)
    for low, high in parts:
        if high > 0 and low < width:
            image[height * 3 // 10 : height * 7 // 10, max(low, 0) : high] = PART
    image *= np.float32(light)
    return np.asarray(cv2.add(image, grain(len(parts), height, width), dtype=cv2.CV_8U), np.uint8)


@lru_cache(maxsize=16)
def grain(seed: int, height: int, width: int) -> NDArray[np.float32]:
    """The noise of a picture, which takes longer to draw than all the rest of it."""
    return np.random.default_rng(seed).normal(0, 1.0, (height, width, 3)).astype(np.float32)


def passing(length: int = 100, step: int = 8, gap: int = 20, width: int = WIDTH) -> Iterator[tuple[int, int]]:
    """Where one part is while it passes from left to right, the empty belt before and after included."""
    for low in range(-length - gap, width + gap, step):
        yield low, low + length


class Belt:
    """Shows pictures to a decider, whose model is always of one opinion, and collects what it rules."""

    def __init__(self, decider: Decider, says: Classification = GOOD) -> None:
        self.decider = decider
        self.says = says
        self.seq = 0
        self.rulings: list[Ruling] = []

    def show(self, image: Image, times: int = 1) -> list[Ruling]:
        """What is ruled while `image` is shown for so many frames."""
        before = len(self.rulings)
        for _ in range(times):
            now_ns = self.seq * FRAME_NS
            if self.decider.look(image, now_ns) is not None:
                height, width = image.shape[:2]
                self.decider.take(Evidence(self.says, self.seq, now_ns, width, height, None, 0, 0))
            self.rulings += self.decider.rulings()
            self.seq += 1
        return self.rulings[before:]

    def run(self, *places: Iterable[tuple[int, int]], **look: Any) -> list[Ruling]:
        """What is ruled while parts take the places given, one iterable for each, side by side in time."""
        before = len(self.rulings)
        for parts in zip(*places, strict=True):
            self.show(picture(*parts, **look))
        return self.rulings[before:]
