"""How the device is: temperatures, throttling, room on the disk; and frames per second of a line."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

SYS = Path("/sys")
THERMAL_ZONE = SYS / "class/thermal/thermal_zone0/temp"
THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
THROTTLED_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""What a Raspberry Pi's firmware tells: now; 16 bits higher: since it was switched on (documentation of vcgencmd)."""


class LineHealth:
    """Turns a growing count of frames into frames per second between two looks at it."""

    def __init__(self) -> None:
        self._frames = 0
        self._at_ns: int | None = None
        self.last_fps = 0.0
        """What `fps` answered last."""
        self.last_latency_ms: dict[str, float | None] = {}
        """What was told last, by whoever took the latencies."""

    def fps(self, frames: int, now_ns: int) -> float:
        """Frames per second since the last call, 0 on the first.

        Args:
            frames: inspected so far.
            now_ns: monotonic, nanoseconds.
        """
        before, at_ns = self._frames, self._at_ns
        self._frames, self._at_ns = frames, now_ns
        passed_ns = 0 if at_ns is None else now_ns - at_ns
        self.last_fps = (frames - before) * 1e9 / passed_ns if passed_ns > 0 else 0.0
        return self.last_fps


def temperature_c() -> float | None:
    """The processor's temperature in degrees Celsius, None where the device does not tell."""
    try:
        return int(THERMAL_ZONE.read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return None


def temperatures_c(sys: Path = SYS) -> Mapping[str, float]:
    """Every thermal zone's temperature in degrees Celsius, by its kind; one that comes twice gets a number."""
    found: dict[str, float] = {}
    for zone in sorted((sys / "class/thermal").glob("thermal_zone*")):
        with suppress(OSError, ValueError):
            kind, celsius = (zone / "type").read_text().strip(), int((zone / "temp").read_text()) / 1000
            found[kind if kind not in found else f"{kind}-{zone.name.removeprefix('thermal_zone')}"] = celsius
    return found


def throttled(sys: Path = SYS) -> Mapping[str, bool] | None:
    """Of a Raspberry Pi, what it slows down for now; None on any other device."""
    try:
        bits = int((sys / THROTTLED).read_text(), 16)
    except (OSError, ValueError):
        return None
    return {name: bool(bits >> bit & 1) for bit, name in THROTTLED_BITS.items()}


def free_bytes(folder: Path) -> int | None:
    """What is free on the disk that a folder is on; None when it is not there."""
    try:
        seen = os.statvfs(folder)
    except OSError:
        return None
    return seen.f_bavail * seen.f_frsize
