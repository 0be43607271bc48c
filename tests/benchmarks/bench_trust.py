"""What it costs to know whether the picture can be trusted: CPU time per frame, as a share of a core
at 30 frames per second, and of one look at the whole picture.

    python tests/benchmarks/bench_trust.py [--json]
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from harness import show_figures  # noqa: E402  # needs the path
from scenes import Scene, drawings  # noqa: E402  # needs the path

import edge.preprocess  # noqa: E402, F401  # as in the daemon: OpenCV has one thread
from edge.structure import Structure  # noqa: E402  # needs the path
from edge.trust import Trust, TrustSettings  # noqa: E402  # needs the path

FPS = 30
SIZES = ((640, 480), (1280, 720), (1920, 1080))


def measure(width: int, height: int, frames: int) -> dict[str, float]:
    """CPU milliseconds per frame and of a look, and the share of a core in per cent."""
    scene = Scene(drawings(5), 5, (width, height))
    reference = scene.reference()
    pictures = [scene.picture(second) for second in range(8)]
    trust, structure = Trust(TrustSettings(), live=True, reference=reference), Structure(reference)
    structure.measure(pictures[0])
    trust.judge(pictures[0], 0)
    trust.look(pictures[0], 0)
    looks = []
    for number in range(frames // 10):
        start = time.thread_time()
        structure.measure(pictures[number % 8])
        looks.append(time.thread_time() - start)
    start = time.thread_time()
    for number in range(frames):
        now_ns = (number + 1) * 1_000_000_000 // FPS
        trust.judge(pictures[number % 8], now_ns)
        trust.look(pictures[number % 8], now_ns)
    frame_ms = (time.thread_time() - start) / frames * 1e3
    return {
        "frame_ms": round(frame_ms, 4),
        "look_ms": round(float(np.median(looks)) * 1e3, 3),
        "core_percent": round(frame_ms / 1e3 * FPS * 100, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--frames", type=int, default=1800, help="at each size (default: %(default)s)")
    options = parser.parse_args()
    results = {f"{width}x{height}": measure(width, height, options.frames) for width, height in SIZES}
    show_figures(results, as_json=options.json)


if __name__ == "__main__":
    main()
