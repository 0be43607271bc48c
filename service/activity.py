"""What a thread is doing, noted by the thread itself, so that one that hangs is noticed."""

from dataclasses import dataclass

from edge.clock import Clock


@dataclass(frozen=True, slots=True)
class Hang:
    """Something that should have been over."""

    what: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.what} has not ended for {self.seconds:.0f} s"


class Activity:
    """Noted by one thread, read by others. Without a lock: it is noted several times for every frame.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # One record, exchanged as a whole: a reader never sees half of it.
        self._doing: tuple[str, float | None, int] = ("nothing", None, 0)

    def does(self, what: str, limit_s: float | None) -> None:
        """From now on.

        Args:
            what: as a sentence begins, such as "reading a frame".
            limit_s: it hangs when it takes longer; None for what may last for ever.
        """
        self._doing = (what, limit_s, self._clock.monotonic_ns())

    def rests(self) -> None:
        """Nothing is expected of it."""
        self.does("nothing", None)

    @property
    def hang(self) -> Hang | None:
        """What takes longer than it may, None as long as all is well."""
        what, limit_s, since_ns = self._doing
        if limit_s is None:
            return None
        seconds = (self._clock.monotonic_ns() - since_ns) / 1e9
        return Hang(what, seconds) if seconds > limit_s else None
