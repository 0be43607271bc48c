"""What a camera over a line sees, hour after hour: machine parts that stand still at both sides of a belt, parts that
come and go on it, light that changes, vibration, noise. And what can go wrong with the camera.

The parts are real photographs where they are on this machine, else drawn.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.frame import Image
from edge.reference import Reference, take_reference
from edge.trust import Cause

MARGIN = 64
"""Pixels around the picture into which a camera that vibrates or was moved looks."""
PERIOD_S = 40.0
"""In which the belt runs, then stands for 8 s."""
STANDS_S = 8.0


def photographs(tiles: Path, seed: int, count: int = 24) -> list[Image]:
    """Some of the real ones, grey."""
    files = sorted((tiles / "images").glob("*/*.jpg"))
    chosen = np.random.default_rng(seed).choice(len(files), count, replace=False)
    return [np.asarray(cv2.imread(str(files[i]), cv2.IMREAD_GRAYSCALE), np.uint8) for i in chosen]


def drawings(seed: int, count: int = 24) -> list[Image]:
    """Brushed metal with a rim and holes, grey."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        height, width = rng.integers(200, 420, 2)
        part = np.asarray(cv2.GaussianBlur(rng.normal(0, 60, (height, width)), (0, 0), 0.6, sigmaY=9))
        part = part + rng.uniform(90, 160) + np.linspace(-30, 30, width)
        cv2.rectangle(part, (3, 3), (int(width) - 4, int(height) - 4), 40, 3)
        for _ in range(rng.integers(1, 5)):
            cv2.circle(part, tuple(int(rng.integers(30, side - 30)) for side in (width, height)), 12, 25, -1)
        drawn.append(np.clip(part, 0, 255).astype(np.uint8))
    return drawn


class Scene:
    """One line.

    Args:
        parts: at least 8 grey pictures: the first third makes the machine, the others pass on the belt.
        seed: for everything that is drawn.
        size: (width, height) of the picture.
    """

    def __init__(self, parts: Sequence[Image], seed: int, size: tuple[int, int] = (1280, 720)) -> None:
        self._rng = np.random.default_rng(seed)
        self._width, self._height = size
        width, height = self._width + 2 * MARGIN, self._height + 2 * MARGIN
        of_machine, passing = parts[: len(parts) // 3], parts[len(parts) // 3 :]
        shade = cv2.resize(cv2.GaussianBlur(parts[0], (0, 0), 9), (width, height)).astype(np.float32)
        self._machine = np.asarray(40 + 0.25 * shade, np.uint8)
        side = self._side = height // 5
        for top in (0, height - side):
            _lay_out(self._machine[top : top + side], of_machine, side, gap=12, light=0.6)
        self._belt_height = height - 2 * side
        length = (self._belt_height * 5 // 4) * len(passing)
        self._belt = np.full((self._belt_height, length + width), 62, np.uint8)
        _lay_out(self._belt[:, :length], passing, self._belt_height * 4 // 5, gap=self._belt_height // 3, light=1.0)
        self._belt[:, length:] = self._belt[:, :width]
        noise = self._rng.normal(0, 1.3, (4, height + 64, width + 64))
        self._noise = np.asarray(np.round(noise), np.int16)

    def light(self, t_s: float) -> float:
        """It changes by a third within some minutes, and a little all the time."""
        return float(1 + 0.2 * np.sin(t_s / 90) + 0.08 * np.sin(t_s / 7) + self._rng.normal(0, 0.01))

    def picture(self, t_s: float, wrong: Cause | None = None) -> Image:
        """(height, width, 3) uint8, BGR, at that time, in seconds; `frozen` is for the caller to do."""
        view = self._machine.copy()
        runs_s = PERIOD_S - STANDS_S
        run_s = t_s // PERIOD_S * runs_s + min(t_s % PERIOD_S, runs_s)
        way = int(run_s * self._width / 4) % (self._belt.shape[1] - view.shape[1])
        view[self._side : self._side + self._belt_height] = self._belt[:, way : way + view.shape[1]]
        x, y = (MARGIN + int(off) for off in self._rng.integers(-2, 3, 2) * self._width // 1280)
        if wrong == "moved":
            x, y = x + self._width * 3 // 100, y - self._width * 2 // 100
        view = view[y : y + self._height, x : x + self._width]
        if wrong == "focus":
            view = np.asarray(cv2.GaussianBlur(view, (0, 0), self._width / 256), np.uint8)
        if wrong == "covered":
            view = _cover(view)
        light = self.light(t_s) * {"black": 0.03, "overexposed": 8.0}.get(wrong or "", 1.0)
        top, left = self._rng.integers(0, 64, 2)
        noise = self._noise[self._rng.integers(len(self._noise))]
        noise = noise[top : top + self._height, left : left + self._width]
        seen = cv2.add(cv2.convertScaleAbs(view, alpha=light), noise, dtype=cv2.CV_8U)
        return np.asarray(cv2.cvtColor(seen, cv2.COLOR_GRAY2BGR), np.uint8)

    def reference(self, at_s: float = 3.0, for_s: float = 5.0) -> Reference:
        """Taken while parts pass."""
        return take_reference([self.picture(at_s + for_s * i / 14) for i in range(15)])


def _lay_out(strip: Image, parts: Sequence[Image], height: int, gap: int, light: float) -> None:
    """Side by side, in the middle of the strip, until it is full."""
    left, number, top = gap, 0, (len(strip) - height) // 2
    while left < strip.shape[1]:
        part = parts[number % len(parts)]
        width = min(height * part.shape[1] // part.shape[0], 2 * height)
        shown = cv2.convertScaleAbs(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), alpha=light)
        room = min(width, strip.shape[1] - left)
        strip[top : top + height, left : left + room] = shown[:, :room]
        left, number = left + width + gap, number + 1


def _cover(view: Image) -> Image:
    """Something near to the lens, and so out of focus, that reaches a third into the picture."""
    height, width = view.shape
    sharp = np.zeros((height, width), np.float32)
    cv2.ellipse(sharp, (0, height // 2), (width * 2 // 5, height), 0, 0, 360, 1.0, -1)
    mask = np.asarray(cv2.GaussianBlur(sharp, (0, 0), width / 60), np.float32)
    return np.asarray(view * (1 - mask) + 55 * mask, np.uint8)
