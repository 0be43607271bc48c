"""What the `health` topic tells besides the counts of a line."""

from pathlib import Path

THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")


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
