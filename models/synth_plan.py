"""What happens on a rendered line: where the parts lie on the belt, how the belt runs, how bright the hall is.

Numbers only, no pixels; `models.synth_line` films it. Everything is drawn along the belt, whose parts come in at 0 and
leave at `view` px, whichever way the belt runs in the picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]

FPS = 30.0
LEAST_STOP = 30  # frames; shorter pauses belong to a turn of the belt and are no stops
TOUCH_PX = 3  # px; with so little between them two parts touch


@dataclass(frozen=True, slots=True)
class Variety:
    """How much goes on in a clip.

    Attributes:
        touching: share of the parts that lie in groups with gaps of 0 to 3 px.
        stops: how often the belt stops with a part in view, per 100 parts.
        backs: how often the belt runs backwards a little, per 100 parts.
        begin_in_view: chance that the clip begins with a part in view.
        end_in_view: chance that the clip ends with the last part in view.
        slowest: px per frame.
        fastest: px per frame.
    """

    touching: float = 0.07
    stops: float = 4.0
    backs: float = 4.0
    begin_in_view: float = 0.25
    end_in_view: float = 0.25
    slowest: float = 4.0
    fastest: float = 14.0

    def __post_init__(self) -> None:
        for name in ("touching", "begin_in_view", "end_in_view"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be from 0 to 1.")
        for name in ("stops", "backs"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be from 0 to 100.")
        if not 1 <= self.slowest <= self.fastest <= 100:
            raise ValueError(
                f"slowest is {self.slowest} and fastest {self.fastest}: give 1 <= slowest <= fastest <= 100."
            )


@dataclass(frozen=True, eq=False)
class Sizes:
    """How far each part reaches from its centre along the belt, px: (parts,) each."""

    ahead: Series
    behind: Series


@dataclass(frozen=True, eq=False)
class Run:
    """How the belt runs, frame by frame.

    Attributes:
        speed: px per frame, negative when it runs backwards, 0 when it stands.
        shift: px that it has run; where a part with the position p is: its centre lies at `shift - p` along the belt.
    """

    speed: Series
    shift: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Event:
    """The belt stops (`back` 0) or runs `back` px backwards, once it has run `at` px."""

    at: float
    back: float


def place(sizes: Sizes, view: int, variety: Variety, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The position of each part's centre in px, counted against the belt's run: (parts,), the first one at 0."""
    count = len(sizes.ahead)
    close = _touching(count, variety.touching, rng)
    at = [0.0]
    for i in range(1, count):
        gap = float(rng.integers(0, TOUCH_PX + 1)) if close[i] else _gap(view, rng)
        at.append(at[-1] + sizes.behind[i - 1] + gap + sizes.ahead[i])
    return np.asarray(at, np.int64)


def run_belt(
    positions: npt.NDArray[np.int64], sizes: Sizes, view: int, variety: Variety, rng: np.random.Generator
) -> Run:
    """Let the belt run until the last part has left, or has come into view when the clip is to end there."""
    begin = -sizes.ahead[0] - rng.uniform(20, 200)
    if rng.random() < variety.begin_in_view:
        begin = rng.uniform(0.1, 0.9) * view
    end = positions[-1] + view + sizes.behind[-1] + rng.uniform(10, 150)
    if rng.random() < variety.end_in_view:
        end = positions[-1] + rng.uniform(0.1, 0.9) * view
    events = [event for event in _events(positions, sizes, view, variety, rng) if begin < event.at < end]
    events.sort(key=lambda event: event.at)
    cruise = _cruise(variety, rng)
    speeds: list[float] = []
    shift = begin
    while shift < end:
        speed = next(cruise)
        steps = [speed]
        if events and shift >= events[0].at:
            event = events.pop(0)
            steps = _turn(speed, event.back, rng) if event.back else _stop(speed, rng)
        speeds += steps
        shift += sum(steps)
    run = np.concatenate([[0.0], np.cumsum(speeds[:-1])])
    return Run(speed=np.asarray(speeds), shift=np.round(begin + run).astype(np.int64))


def light(frames: int, rng: np.random.Generator) -> Series:
    """The factor on the light in each frame: drifts by up to 25 %, steps of 10 to 15 %, flicker of up to 3 %."""
    seconds = np.arange(frames) / FPS
    slow, fast = (np.sin(2 * np.pi * (seconds / rng.uniform(15, 90) + rng.random())) for _ in range(2))
    level = 1 + rng.uniform(0.08, 0.25) * (slow + fast) / 2
    for _ in range(rng.integers(1, 3)):  # a hall door opens or closes
        level[int(rng.integers(0, frames)) :] *= 1 + rng.choice([-1, 1]) * rng.uniform(0.10, 0.15)
    lamp = np.sin(2 * np.pi * np.arange(frames) / rng.uniform(2.2, 9)) + 0.5 * rng.standard_normal(frames)
    return np.asarray(level * (1 + rng.uniform(0.002, 0.02) * np.clip(lamp, -1.5, 1.5)), np.float64)


def jitter(frames: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """How far the belt lies off its middle line in each frame, px across: it wanders by 2 and shakes by 1 at most."""
    wander = 2 * np.sin(2 * np.pi * (np.arange(frames) / FPS / rng.uniform(5, 20) + rng.random()))
    shake = rng.random(frames) < rng.uniform(0, 0.3)
    return np.asarray(np.round(wander) + shake * rng.integers(-1, 2, frames), np.int64)


def _touching(count: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """For each part whether it touches the one before it: groups of two, seldom of three."""
    close = np.zeros(count, np.bool_)
    grouped = 0
    for start in rng.permutation(max(count - 1, 0)):
        size = 3 if rng.random() < 0.15 else 2
        around = slice(max(start, 0), start + size + 1)  # no group begins where another one ends
        if grouped + 1 > share * count:
            break
        if start + size <= count and not close[around].any():
            close[start + 1 : start + size] = True
            grouped += size
    return close


def _gap(view: int, rng: np.random.Generator) -> float:
    """Px between two parts that do not touch: mostly less than half the view, seldom a long empty stretch."""
    kind = rng.random()
    if kind < 0.15:
        return float(rng.integers(12, 41))
    if kind < 0.75:
        return float(rng.integers(40, 201))
    if kind < 0.985:
        return float(rng.integers(200, 2 * view + 1))
    return float(rng.integers(3 * view, 6 * view))


def _cruise(variety: Variety, rng: np.random.Generator) -> Iterator[float]:
    """The speed without events, px per frame: it slides towards ever new aims, now and then it jumps."""
    speed = aim = rng.uniform(variety.slowest, variety.fastest)
    change, left = 0.1, 0
    while True:
        if left == 0:
            aim, left = rng.uniform(variety.slowest, variety.fastest), int(rng.integers(40, 240))
            change = 100.0 if rng.random() < 0.3 else rng.uniform(0.02, 0.3)
        left -= 1
        speed += float(np.clip(aim - speed, -change, change))
        yield speed


def _events(
    positions: npt.NDArray[np.int64], sizes: Sizes, view: int, variety: Variety, rng: np.random.Generator
) -> list[_Event]:
    """When the belt stops and when it turns; both where a part can be seen."""
    count = len(positions)
    stopping = rng.integers(0, count, _times(variety.stops, count))
    found = [_Event(at=positions[i] + rng.uniform() * view, back=0.0) for i in stopping]
    for n, i in enumerate(rng.integers(0, count, _times(variety.backs, count))):
        if n % 2 == 0:  # a part that peeks in leaves again by the side it came from
            seen = rng.uniform(6, 45)
            found.append(_Event(at=positions[i] - sizes.ahead[i] + seen, back=seen + rng.uniform(3, 12)))
        else:
            where = rng.uniform(-0.1, 1.1) * view
            found.append(_Event(at=positions[i] + where, back=rng.uniform(10, 50)))
    return found


def _times(per_hundred: float, count: int) -> int:
    return max(round(per_hundred * count / 100), 1 if per_hundred > 0 else 0)


def _stop(speed: float, rng: np.random.Generator) -> list[float]:
    """Brake, stand for 1 to 6 s, start again."""
    braking, starting = rng.integers(1, 12, 2)
    standing = int(rng.integers(LEAST_STOP, 6 * LEAST_STOP + 1))
    return [*_ramp(speed, braking), *[0.0] * standing, *_ramp(speed, starting)[::-1]]


def _turn(speed: float, back: float, rng: np.random.Generator) -> list[float]:
    """Brake, run backwards until the belt is `back` px behind where braking began, go on."""
    braking = _ramp(speed, int(rng.integers(1, 4)))
    steps = int(np.ceil((back + sum(braking)) / rng.uniform(2, 6)))
    waits = rng.integers(1, LEAST_STOP // 2, 2)
    backwards = [-(back + sum(braking)) / steps] * steps
    return [*braking, *[0.0] * waits[0], *backwards, *[0.0] * waits[1], *_ramp(speed, 3)[::-1]]


def _ramp(speed: float, frames: int) -> list[float]:
    """From nearly `speed` down to nearly nothing."""
    return [float(v) for v in np.linspace(speed, 0, frames + 2)[1:-1]]
