"""What is told to systemd over its notification socket; without systemd nothing is told."""

import os
import time

from systemd import daemon

from edge.clock import Clock

STATUS_LIMIT = 1000
"""Characters; systemd passes over a message of more than 4096 bytes."""


class Systemd:
    """The service manager, as seen from the thread `main`.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._status = ""
        self._feed_every_ns = _feed_every_ns()
        self._feed_at_ns = 0

    def ready(self) -> None:
        """The start, or a reload, is over."""
        daemon.notify("READY=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready` follows."""
        # `Type=notify-reload`, of systemd 253 and newer, wants the time as well.
        daemon.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        daemon.notify("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for more time, from now, for what takes long and makes progress."""
        daemon.notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """One line for people, which `systemctl status` shows. Sent when it differs from the last one."""
        line = " ".join(text.split())
        line = line if len(line) <= STATUS_LIMIT else line[: STATUS_LIMIT - 1] + "…"
        if line != self._status:
            self._status = line
            daemon.notify(f"STATUS={line}")

    def feed(self) -> None:
        """All is well. To be called often; the watchdog is fed as often as it wants to be."""
        now_ns = self._clock.monotonic_ns()
        if self._feed_every_ns is not None and now_ns >= self._feed_at_ns:
            self._feed_at_ns = now_ns + self._feed_every_ns
            daemon.notify("WATCHDOG=1")


def _feed_every_ns() -> int | None:
    """A third of WatchdogSec, so that one that is late does no harm; None when no watchdog waits for this process."""
    period_us = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID") or str(os.getpid())
    if not period_us.isdecimal() or int(period_us) == 0 or meant_for != str(os.getpid()):
        return None
    return int(period_us) * 1000 // 3
