"""How often the disk may be written to: SD cards wear out."""

from typing import NamedTuple

from edge.clock import Clock

HOUR_NS = 3_600_000_000_000
AT_ONCE = 0.25
"""Share of an hour's writes that may come one after another; the others are spread over the hour."""


class Saved(NamedTuple):
    """What is left at a time (UTC, nanoseconds), to go on from after a restart."""

    left: float
    at_ns: int


class Budget:
    """Never more writes than `per_hour` in any sixty minutes: a bucket of a quarter of them, filled over the hour.

    One thread spends; any thread may ask.

    Args:
        per_hour: writes, one or more.
        clock: UTC, so that a restart does not begin anew.
    """

    def __init__(self, per_hour: int, clock: Clock) -> None:
        self._most = max(1.0, per_hour * AT_ONCE)
        self._per_ns = max(0.0, per_hour - self._most) / HOUR_NS
        self._clock = clock
        self._saved = Saved(self._most, clock.now_ns())

    def resume(self, saved: Saved, spent: int) -> None:
        """Go on from what was left at some time before, less `spent` writes since."""
        now_ns = self._clock.now_ns()
        # A clock that was set back must not take the budget away for years, nor one set forward fill more than it is.
        self._saved = Saved(min(saved.left, self._most), min(saved.at_ns, now_ns))
        self._saved = Saved(self._left() - spent, now_ns)

    def has_one(self) -> bool:
        """Whether a write may be made now."""
        return self._left() >= 1

    def spend(self) -> Saved:
        """A write is made; what is left."""
        self._saved = Saved(self._left() - 1, self._clock.now_ns())
        return self._saved

    def _left(self) -> float:
        saved = self._saved  # exchanged as a whole
        passed_ns = max(0, self._clock.now_ns() - saved.at_ns)
        return min(self._most, saved.left + passed_ns * self._per_ns)
