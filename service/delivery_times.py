"""How long decisions take from the capture of their frame until the broker has them. Used by the thread `publish`."""

from edge.clock import Clock
from edge.decision import Decision
from edge.histogram import DELIVERY_S, Histogram

KEPT = 8192
"""Decisions on their way whose time is known; of more, the oldest are left out."""


class DeliveryTimes:
    """Times of the decisions of this run; those of a run before have no clock in common with it.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun: dict[int, tuple[str, int]] = {}
        self.by_line: dict[str, Histogram] = {}
        """Read by other threads."""

    def begin(self, seq: int, decision: Decision) -> None:
        """It is on its way."""
        evidence = decision.ruling.evidence
        if evidence is None:
            return
        self._begun[seq] = (decision.line, evidence.captured_at_ns)
        if len(self._begun) > KEPT:
            del self._begun[next(iter(self._begun))]

    def end(self, seq: int) -> None:
        """The broker has it."""
        begun = self._begun.pop(seq, None)
        if begun is None:
            return
        line, captured_at_ns = begun
        if line not in self.by_line:
            self.by_line[line] = Histogram(DELIVERY_S)
        self.by_line[line].note((self._clock.now_ns() - captured_at_ns) / 1e9)
