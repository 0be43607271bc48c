"""What pictures of rejects cost: CPU time of the inspecting thread per frame without them, with them on a line of good
parts, and where every frame is a review whose picture is taken; and CPU time of the thread `evidence` per picture.

    python tests/benchmarks/bench_evidence.py [--json]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import cv2  # noqa: E402  # needs the path
from harness import ROOT, in_turn, show_figures  # noqa: E402  # needs the path
from pictures import settings  # noqa: E402  # needs the path

from edge.backends import EngineSettings  # noqa: E402  # needs the path
from edge.bundle import load_bundle  # noqa: E402  # needs the path
from edge.clock import SystemClock  # noqa: E402  # needs the path
from edge.deciders import make_decider  # noqa: E402  # needs the path
from edge.decision import DecideSettings, Decision  # noqa: E402  # needs the path
from edge.engine import Engine  # noqa: E402  # needs the path
from edge.frame import Frame, Image  # noqa: E402  # needs the path
from edge.pipeline import Pipeline  # noqa: E402  # needs the path
from edge.stills import About, Stills  # noqa: E402  # needs the path
from service.evidence.store import EvidenceStore  # noqa: E402  # needs the path
from service.messages import ModelInfo, decision_message  # noqa: E402  # needs the path

FRAMES = 100
ROUNDS = 7
FPS = 30
GOOD = "ok"


class Way:
    """One pipeline, and what becomes of its decisions."""

    def __init__(self, engine: Engine, image: Image, min_score: float, store: EvidenceStore | None) -> None:
        bundle = engine.bundle
        stills = Stills(About(bundle.labels), lambda: store is not None and store.wants("line1"))
        decider = make_decider(DecideSettings(per="frame", min_score=min_score), GOOD, None, stills)
        self._pipeline = Pipeline(slot=engine.slot(), decider=decider, clock=SystemClock(), stills=stills)
        self._store = store
        self._image = image
        self._count = 0
        self.offered = 0

    def turn(self) -> float:
        """CPU milliseconds of the inspecting thread per frame, at the pace of a camera."""
        spent = 0.0
        for number in range(FRAMES):
            begin, start = time.monotonic(), time.thread_time()
            decisions = self._pipeline.inspect(Frame("line1", number, self._image, time.time_ns()))
            spent += time.thread_time() - start
            for decision in decisions:
                self._keep(decision)
            time.sleep(max(0.0, 1 / FPS - (time.monotonic() - begin)))
        return spent / FRAMES * 1e3

    def _keep(self, decision: Decision) -> None:
        if self._store is None or decision.ruling.still is None:
            return
        self._count += 1
        self.offered += 1
        item_id = f"01900000-0000-7000-8000-{self._count:012x}"
        info = ModelInfo("surface-demo", "1", "int8")
        message = decision_message(decision, node="a", model=info, part=self._count, message_id=item_id)
        self._store.offer(message, decision.ruling.still)


def good_picture() -> Image:
    """1280x720, of a part that passes."""
    truth = json.loads((ROOT / "models/demo/conveyor.truth.json").read_text())
    seq = next(f["seq"] for f in truth["frames"] if f["label"] == GOOD and f["wholly_in_view"])
    capture = cv2.VideoCapture(str(ROOT / "models/demo" / truth["video"]))
    for _ in range(seq):
        capture.grab()
    return cv2.resize(capture.read()[1], (1280, 720))  # type: ignore[return-value]  # no dtype in OpenCV's stubs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    engine = Engine(load_bundle(ROOT / "models/surface-demo"), EngineSettings(threads=1), lines=3)
    with tempfile.TemporaryDirectory() as folder:
        store = EvidenceStore(settings(Path(folder), 64), SystemClock())
        store.start()
        image = good_picture()
        ways = {
            "off": Way(engine, image, 0.0, None),
            "good": Way(engine, image, 0.0, store),
            "review": Way(engine, image, 1.0, store),
        }
        found = in_turn({name: way.turn for name, way in ways.items()}, ROUNDS)
        store.stop(10)
        kept = store.counts["kept"]
        print(f"kept {kept} of {ways['review'].offered} offered; good {ways['good'].offered}", file=sys.stderr)
    off = median(found["off"])
    results = {name: {"frame_ms": round(median(v), 4), "ratio": round(median(v) / off, 3)} for name, v in found.items()}
    show_figures(results, as_json=options.json)


if __name__ == "__main__":
    main()
