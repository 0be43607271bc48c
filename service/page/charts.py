"""What the charts show: figures of every line for the last half hour, one set each time that health is told."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from service.announcer import HEARTBEAT_S
from service.lines import Managed

POINTS = 1800 // HEARTBEAT_S


class Point(NamedTuple):
    """At a time (UTC, milliseconds): frames per second, latencies in milliseconds, decisions per minute."""

    at_ms: int
    fps: float
    p50_ms: float | None
    p99_ms: float | None
    per_minute: float


class Charts:
    """Used by the thread `http` alone; it keeps some kilobytes for a line."""

    def __init__(self) -> None:
        self._points: dict[str, deque[Point]] = {}
        self._decisions: dict[Managed, tuple[int, int]] = {}
        """How many there were, and when (UTC, milliseconds)."""

    def note(self, lines: Iterable[Managed], now_ms: int) -> None:
        """To be called every `HEARTBEAT_S` seconds."""
        before, self._decisions = self._decisions, {}
        points, self._points = self._points, {}
        for managed in lines:
            name, count = managed.line.name, managed.line.counts.decisions
            counted, at_ms = before.get(managed, (count, now_ms))
            self._decisions[managed] = (count, now_ms)
            self._points[name] = points.get(name, deque(maxlen=POINTS))
            if (passed_ms := now_ms - at_ms) > 0:
                latency_ms = managed.health.last_latency_ms
                per_minute = round((count - counted) * 60_000 / passed_ms, 1)
                fps = round(managed.health.last_fps, 2)
                self._points[name].append(Point(now_ms, fps, latency_ms.get("p50"), latency_ms.get("p99"), per_minute))

    def of(self, line: str) -> list[Point]:
        """The oldest first."""
        return list(self._points.get(line, ()))
