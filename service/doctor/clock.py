"""Whether this device knows what time it is: decisions carry it, and TLS needs it."""

import ctypes
import struct
import time
from collections.abc import Iterator

from service.doctor.finding import Finding, error, ok, warning

_TIMEX = "@Iqqqq"
"""The begin of struct timex of 64-bit Linux (adjtimex(2)): modes, offset, freq, maxerror, esterror."""
_TIMEX_BYTES = 512
_UNSYNCHRONISED_US = 16_000_000
"""So much the kernel gives the error when nobody has set the clock for long; systemd's timedatectl goes by it, too."""
_BUILT = 1_780_000_000
"""Seconds since 1970, in 2026: it is later than that."""


def largest_error_us() -> int | None:
    """How far the clock may be off at most, as the kernel reckons; None when it does not tell."""
    asked = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: nothing is changed
    if ctypes.CDLL(None).adjtimex(asked) == -1:
        return None
    return int(struct.unpack_from(_TIMEX, asked.raw)[3])


def clock(error_us: int | None, now_s: float) -> Iterator[Finding]:
    """Whether the clock is set, and kept right.

    Args:
        error_us: see `largest_error_us`.
        now_s: seconds since 1970.
    """
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    facts = {"largest_error_us": error_us, "synchronised": error_us is not None and error_us < _UNSYNCHRONISED_US}
    if now_s < _BUILT:
        text = f"the clock says {told}, which is past: decisions get this time, and certificates look not yet valid"
        yield error("clock", text, "sudo timedatectl set-ntp true, or sudo date -s 'YYYY-MM-DD HH:MM:SS'", **facts)
    elif error_us is None or error_us >= _UNSYNCHRONISED_US:
        text = f"nobody keeps the clock right ({told} now): the times of decisions drift"
        yield warning("clock", text, "sudo timedatectl set-ntp true; then see timedatectl timesync-status", **facts)
    else:
        yield ok("clock", f"{told}, kept right to {max(1, error_us // 1000)} ms", **facts)
