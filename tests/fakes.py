"""Plain stand-ins for what is passed in: a clock whose hands the test holds, a source that plays a script."""

import time
from collections.abc import Sequence

import numpy as np

from edge.errors import EdgeError
from edge.frame import Frame, Image


class FakeClock:
    """Time stands still until the test or a sleeper moves it."""

    def __init__(self, now_ns: int = 1_790_000_000_000_000_000) -> None:
        self.now = now_ns
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += int(seconds * 1e9)


class FastClock:
    """The clock of the machine, only that its time passes faster."""

    def __init__(self, times: int) -> None:
        self._times = times

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.perf_counter_ns() * self._times

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._times)


class ScriptedSource:
    """Delivers frames and raises errors in the order of a script, then ends."""

    def __init__(
        self, script: Sequence[EdgeError | TimeoutError | None], *, live: bool = False, line: str = "line1"
    ) -> None:
        self.live = live
        self.on_demand = not live
        self._line = line
        self._script = script
        self._next = 0
        self.opened = 0
        self.closed = 0
        self.ahead = not live
        self.dropped = 0

    def open(self) -> None:
        self.opened += 1

    def read(self, into: Image | None = None) -> Frame | None:
        if self._next == len(self._script):
            return None
        step = self._script[self._next]
        self._next += 1
        if step is not None:
            raise step
        image = np.empty((240, 320, 3), np.uint8) if into is None else into
        image[...] = 90
        return Frame(self._line, self._next - 1, image, 1)

    def close(self) -> None:
        self.closed += 1
