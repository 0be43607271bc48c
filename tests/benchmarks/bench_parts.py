"""What following parts costs: `PerPart.look` per frame, with a part in view and without, next to one INT8
inference of surface-demo on one thread.

    python tests/benchmarks/bench_parts.py [--json]

These are medians of runs that take turns, so that what else the machine does meets all alike; read the ratios.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from belt import FRAME_NS, Belt, passing, picture  # noqa: E402  # needs the path
from harness import show_figures  # noqa: E402  # needs the path

from edge.backends import EngineSettings  # noqa: E402  # needs the path
from edge.bundle import load_bundle  # noqa: E402  # needs the path
from edge.deciders import make_decider  # noqa: E402  # needs the path
from edge.decision import DecideSettings  # noqa: E402  # needs the path
from edge.engine import Engine  # noqa: E402  # needs the path

SIZES = ((320, 240), (640, 480), (1280, 720))


def measure(width: int, height: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of `look` with a whole part in view and with none, of an inference, and their ratios."""
    bundle = load_bundle(TESTS.parent / "models/surface-demo")
    slot = Engine(bundle, EngineSettings(precision="int8", threads=1)).slot()
    belt = Belt(make_decider(DecideSettings(), "ok"))
    places = list(passing(width // 3, step=width // 40, width=width))
    images = [picture(place, size=(width, height)) for place in places]
    for image in (*images, *images):  # two parts pass: the travel is known, as it is nearly always
        belt.show(image)
    with_part, empty, infer = [], [], []
    for _ in range(rounds):
        for (low, high), image in zip(places, images, strict=True):
            start = time.perf_counter()
            belt.decider.look(image, belt.seq * FRAME_NS)
            looked = time.perf_counter()
            slot.infer()
            infer.append(time.perf_counter() - looked)
            belt.decider.rulings()
            belt.seq += 1
            if high <= 0 or low >= width:
                empty.append(looked - start)
            elif low > 0 and high < width:
                with_part.append(looked - start)
    part_ms, empty_ms, infer_ms = (float(np.median(times) * 1e3) for times in (with_part, empty, infer))
    return {
        "part_ms": round(part_ms, 3),
        "empty_ms": round(empty_ms, 3),
        "infer_ms": round(infer_ms, 3),
        "part_ratio": round(part_ms / infer_ms, 3),
        "empty_ratio": round(empty_ms / infer_ms, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--parts", type=int, default=10, help="how many parts pass at each size (default: %(default)s)")
    options = parser.parse_args()
    results = {f"{width}x{height}": measure(width, height, options.parts) for width, height in SIZES}
    show_figures(results, as_json=options.json)


if __name__ == "__main__":
    main()
