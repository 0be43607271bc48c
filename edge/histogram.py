"""How long things take, counted in a few classes: cheap enough for every frame."""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping


class Histogram:
    """Written by one thread at a time; read by any, which may find it one observation short.

    Args:
        edges_s: upper edges of the classes, ascending, seconds; what is longer falls into one more class.
    """

    __slots__ = ("counts", "edges_s", "sum_s")

    def __init__(self, edges_s: tuple[float, ...]) -> None:
        self.edges_s = edges_s
        self.counts = [0] * (len(edges_s) + 1)
        self.sum_s = 0.0

    def note(self, seconds: float) -> None:
        """One took so long."""
        self.counts[bisect_left(self.edges_s, seconds)] += 1
        self.sum_s += seconds


STAGE_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""For what happens on this device."""
DELIVERY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)
"""For what a network takes part in."""
NOTED = 64
"""Frames that wait to be sorted into classes: after an inference each look at memory is slow."""


class Stages:
    """The stages of one line's frames. Noted by one thread, read by any.

    `look` is what of the frame the model should see, `preprocess` from there to the engine's input, `infer` the engine
    and `total` from the capture to the end of all that is done with the frame.
    """

    __slots__ = ("_histograms", "_noted", "_sorting")

    def __init__(self) -> None:
        self._histograms = {stage: Histogram(STAGE_S) for stage in ("look", "preprocess", "infer", "total")}
        self._noted: deque[tuple[int, int, int, int]] = deque()
        self._sorting = threading.Lock()

    def note(self, look_ns: int, preprocess_ns: int, infer_ns: int, total_ns: int) -> None:
        """One frame, nanoseconds; 0 for what it did not go through. Sorted into classes later, many at once."""
        self._noted.append((look_ns, preprocess_ns, infer_ns, total_ns))
        if len(self._noted) >= NOTED:
            self._sort()

    def histograms(self) -> Mapping[str, Histogram]:
        """Of all that was noted so far, by stage, in order."""
        self._sort()
        return self._histograms

    def _sort(self) -> None:
        with self._sorting:
            while self._noted:
                for histogram, ns in zip(self._histograms.values(), self._noted.popleft(), strict=True):
                    if ns:
                        histogram.note(ns / 1e9)
