"""How the thresholds of `trust` were found: what the photographs and scenes composed of them measure, as they are and
with each cause. Least, median and greatest figure.

    python tests/benchmarks/find_thresholds.py --tiles DIR [--seeds N]

DIR holds the photographs of magnetic tiles. Prints what docs/blind.md shows.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from scenes import Scene, photographs  # noqa: E402  # needs the path

from edge.structure import Figures, Structure  # noqa: E402  # needs the path
from edge.trust import BRIGHTEST, WHITE, Cause  # noqa: E402  # needs the path

WRONG: tuple[Cause | None, ...] = (None, "focus", "moved", "covered")


def show(name: str, figures: list[float]) -> None:
    """One line; figures that could not be measured are left out."""
    least, middle, most = np.percentile(figures, (0, 50, 100)) if figures else (np.nan,) * 3
    print(f"{name:<28} {least:8.3f} {middle:8.3f} {most:8.3f}  of {len(figures)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=Path, required=True, metavar="DIR", help="the photographs")
    parser.add_argument("--seeds", type=int, default=4, metavar="N", help="scenes (default: %(default)s)")
    options = parser.parse_args()
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in sorted(options.tiles.glob("images/*/*.jpg"))]
    seen = [image for image in images if image is not None]
    print(f"{'':<28} {'least':>8} {'median':>8} {'most':>8}")
    show("black: photographs", [float(np.percentile(image, BRIGHTEST)) for image in seen])
    show("overexposed: photographs", [float(np.mean(image >= WHITE)) for image in seen])
    for wrong in WRONG:
        found: list[Figures] = []
        for seed in range(options.seeds):
            scene = Scene(photographs(options.tiles, seed), seed)
            structure = Structure(scene.reference())
            found += [structure.measure(scene.picture(7 + 3.7 * step, wrong)) for step in range(40)]
        for figure in Figures._fields:
            values = [getattr(each, figure) for each in found]
            show(f"{figure}: {wrong or 'ordinary'}", [value for value in values if value is not None])


if __name__ == "__main__":
    main()
