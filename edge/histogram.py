"""How long things take, counted in a few classes: cheap enough for every frame."""

from bisect import bisect_left


class Histogram:
    """Written by one thread, without a lock; read by any, which may find it one observation short.

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


class Stages:
    """The stages of one line's frames.

    Attributes:
        look: what of the frame the model should see.
        preprocess: from there to the engine's input.
        infer: the engine.
        total: from the capture to the end of all that is done with the frame.
    """

    __slots__ = ("infer", "look", "preprocess", "total")

    def __init__(self) -> None:
        self.look = Histogram(STAGE_S)
        self.preprocess = Histogram(STAGE_S)
        self.infer = Histogram(STAGE_S)
        self.total = Histogram(STAGE_S)
