"""A line at work under `allocations.c`: prints how many large pieces were allocated per run of frames, once warm.

    LD_PRELOAD=allocations.so python frame_path.py VIDEO BUNDLE ENGINE PER file|live NOTHING|PLACE HEIGHT

PLACE is where a copy is made on purpose, so that it can be seen that it would be noticed; with `stills` pictures of
rejects are taken as for `edgecls evidence`, and it is said on stderr how many.
"""

import ctypes
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings
from edge.engine import Engine
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from edge.preprocess import Preprocessor, Roi
from edge.sources import CommandSettings, Source, make_source
from edge.sources.video import VideoSource
from edge.stills import About, Stills
from service.line import Line

LARGE = 64 * 1024
"""Bytes. Of the pieces on the path of a frame the smallest is the model's input, 76800."""
WARM, COUNTED = 40, 40
PIECES = ctypes.CDLL(None)
PIECES.allocations_start.argtypes = [ctypes.c_size_t]
PIECES.allocations_stop.restype = ctypes.c_long


class Counting(Pipeline):
    """Counts while so many frames pass, from one frame's inspection to a later one's."""

    frames = 0
    found: int | None = None

    def inspect(self, frame: Frame) -> Any:
        self.frames += 1
        if self.frames == WARM:
            PIECES.allocations_start(LARGE)
        decisions = super().inspect(frame)
        if self.frames == WARM + COUNTED:
            self.found = PIECES.allocations_stop()
        return decisions


def copy_at(place: str) -> None:
    """Make every frame be copied once more: at the source, the region, the preprocessor or the decider's look."""
    if place == "source":
        read = VideoSource.read

        def read_and_copy(self: VideoSource, into: Image | None = None) -> Frame | None:
            frame = read(self, into)
            if frame is not None:
                frame.image.copy()
            return frame

        VideoSource.read = read_and_copy  # type: ignore[method-assign]  # put in its place
    elif place == "roi":
        view = Roi.view
        Roi.view = lambda self, image: view(self, image).copy()  # type: ignore[method-assign]  # put in its place
    elif place == "preprocess":
        call = Preprocessor.__call__

        def call_and_copy(self: Preprocessor, image: Image) -> None:
            call(self, image)
            self.area.copy()

        Preprocessor.__call__ = call_and_copy  # type: ignore[method-assign]  # put in its place
    else:
        assert place == "nothing"


def main() -> None:
    video, bundle_path, engine, per, kind, place, height = sys.argv[1:]
    copy_at(place if place not in ("look", "stills") else "nothing")
    bundle = load_bundle(Path(bundle_path))
    stills = Stills(About(), lambda: place == "stills")
    decider = make_decider(DecideSettings(per=per), bundle.manifest.pass_label, None, stills)  # type: ignore[arg-type]  # a Literal, from the command line
    if place == "look":
        look = decider.look
        decider.look = lambda region, captured_at_ns: look(region.copy(), captured_at_ns)  # type: ignore[method-assign]  # put in its place
    pipeline = Counting(
        slot=Engine(bundle, EngineSettings(backend=engine, threads=2)).slot(),  # type: ignore[arg-type]  # a Literal, from the command line
        decider=decider,
        clock=SystemClock(),
        roi=Roi(0, 0, 1280, int(height)),
        stills=stills,
    )
    taken: list[int] = []
    source: Source = VideoSource("line1", Path(video), SystemClock(), realtime=False, loop=False)
    if kind == "live":
        words = [sys.executable, __file__, video]
        source = make_source("line1", CommandSettings(shlex.join(words), 1280, int(height)), SystemClock())
    line = Line(
        "line1",
        source=source,
        pipeline=pipeline,
        emit=lambda decision: taken.append(decision.ruling.still.seq) if decision.ruling.still else None,
        on_change=lambda _line: None,
        clock=SystemClock(),
    )
    line.start()
    while line.is_alive and pipeline.found is None:
        SystemClock().sleep(0.05)
    line.stop()
    line.join()
    print(pipeline.found)
    print(len(taken), file=sys.stderr)


def write(video: str) -> None:
    """The film again and again, raw, as a camera's program does."""
    while True:
        capture = cv2.VideoCapture(video)
        while (read := capture.read())[0]:
            sys.stdout.buffer.write(read[1].data)
            time.sleep(0.02)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(sys.argv[1])
    main()
