"""What following parts costs: `PerPart.look` per frame, next to one INT8 inference of surface-demo on one thread.

    python tests/benchmarks/bench_parts.py [--json]

Both are medians of runs that take turns, so that what else the machine does meets both alike; read the ratio.
"""

import argparse
import json
import sys
import time
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from belt import FRAME_NS, Belt, passing, picture  # noqa: E402

from edge.backends import EngineSettings  # noqa: E402
from edge.bundle import load_bundle  # noqa: E402
from edge.deciders import make_decider  # noqa: E402
from edge.decision import DecideSettings  # noqa: E402
from edge.engine import Engine  # noqa: E402

SIZES = ((320, 240), (640, 480), (1280, 720))


def measure(width: int, height: int, frames: int) -> dict[str, float]:
    """Milliseconds per frame while parts pass, and their ratio."""
    bundle = load_bundle(TESTS.parent / "models/surface-demo")
    slot = Engine(bundle, EngineSettings(precision="int8", threads=1)).slot()
    belt = Belt(make_decider(DecideSettings(), "ok"))
    places = list(passing(width // 3, step=width // 40, width=width))
    images = [picture(place, size=(width, height)) for place in places]
    belt.show(images[0])
    look, infer = [], []
    for seq, image in zip(range(frames), cycle(images), strict=False):
        start = time.perf_counter()
        belt.decider.look(image, seq * FRAME_NS)
        looked = time.perf_counter()
        slot.infer()
        infer.append(time.perf_counter() - looked)
        look.append(looked - start)
        belt.decider.rulings()
    look_ms, infer_ms = float(np.median(look) * 1e3), float(np.median(infer) * 1e3)
    return {"look_ms": round(look_ms, 2), "infer_ms": round(infer_ms, 2), "ratio": round(look_ms / infer_ms, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--frames", type=int, default=300, help="how many frames of each size (default: %(default)s)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    results = {f"{width}x{height}": measure(width, height, options.frames) for width, height in SIZES}
    if options.json:
        print(json.dumps(results))
    else:
        for name, figures in results.items():
            print(f"{name:<12}" + "  ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
