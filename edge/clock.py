"""Time, passed in, so that a test can hold the hands."""

import time
from datetime import datetime, timezone
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What edgecls asks of a clock."""

    def now_ns(self) -> int:
        """UTC, nanoseconds since 1970-01-01."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go backwards, from an arbitrary start."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The clock of the machine: its own functions, for it is asked several times for every frame."""

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)
    sleep = staticmethod(time.sleep)


def rfc3339(utc_ns: int) -> str:
    """UTC nanoseconds as RFC 3339 with microseconds and `Z`, e.g. `2026-11-22T03:53:50.123456Z`."""
    second, ns = divmod(utc_ns, 1_000_000_000)
    return f"{_to_the_second(second)}.{ns // 1000:06d}Z"


@lru_cache(maxsize=8)
def _to_the_second(utc_s: int) -> str:
    """Times are told several to a message and many a second: the calendar is asked once for each second."""
    return datetime.fromtimestamp(utc_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
