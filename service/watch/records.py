"""What a watcher keeps of lines, decisions and events. Times are seconds since 1970-01-01."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from service.watch.reading import Json, clean, section_in, text_in, whole_in

IDS_KEPT = 1000
RATE_S = 60

EventKind = Literal["decision", "state", "health", "status", "gap", "repeat", "ignored", "broker"]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it is shown; what a message lacks is empty or None."""

    line: str
    at: float | None
    part: int | None
    verdict: str
    label: str
    score: float | None
    late: bool
    note: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line of text. `line` is empty when it concerns no line."""

    kind: EventKind
    at: float
    line: str
    text: str
    decided: Decided | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """How a line is: its own word, or `offline`, `STALE` or `unknown` when that no longer counts."""

    word: str
    reason: str
    since: float | None


@dataclass(slots=True)
class Line:
    """Everything heard of one line."""

    topic: str
    name: str
    node: str = ""
    state: str = ""
    reason: str = ""
    since: float | None = None
    ttl_s: float = 30
    state_at: float | None = None
    evicted: int | None = None
    health: Json = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=lambda: {"pass": 0, "reject": 0, "review": 0})
    decisions: int = 0
    missing: int = 0
    repeats: int = 0
    last_part: int | None = None
    was_away: bool = False
    told: tuple[str, str] | None = None
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=IDS_KEPT))
    seconds: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=RATE_S))

    def age_s(self, now: float) -> float | None:
        """How old the last state message is, in seconds."""
        return None if self.state_at is None else max(0.0, now - self.state_at)

    def count_at(self, now: float) -> None:
        """One more decision, for the rate."""
        second, count = int(now), 1
        if self.seconds and self.seconds[-1][0] == second:
            count += self.seconds.pop()[1]
        self.seconds.append((second, count))

    def per_minute(self, now: float, started: float) -> float:
        """Decisions per minute over the last minute, or over the time since `started` when that is shorter."""
        seen = sum(count for second, count in self.seconds if second > now - RATE_S)
        return seen * 60 / min(RATE_S, max(1.0, now - started))

    def share(self, verdict: str) -> float | None:
        """Which part of the decisions seen had this verdict, 0 to 1."""
        return self.verdicts[verdict] / self.decisions if self.decisions else None


def note_of(message: Json) -> str:
    """What else a decision says of itself: its reason, the trigger it answers, the image file."""
    trigger = message.get("trigger")
    if isinstance(trigger, dict):
        trigger = next((trigger[key] for key in ("id", "correlation_id", "correlation") if key in trigger), "")
    found = [text_in(message, "reason"), text_in(section_in(message, "frame"), "file").rpartition("/")[2]]
    if isinstance(trigger, str | int) and trigger not in ("", True, False):
        found.append(f"trigger {clean(str(trigger), 40)}")
    if (seen := whole_in(message, "seen")) is not None:
        found.append(f"{seen} frames")
    return ", ".join(part for part in found if part)


def health_text(health: Json) -> str:
    """The figures of a health message on one line."""

    def shown(key: str, unit: str, digits: int = 0) -> str:
        return "" if health[key] is None else f"{health[key]:.{digits}f}{unit}"

    latency = "/".join(shown(key, "", 1) or "-" for key in ("p50", "p95", "p99"))
    parts = [
        shown("fps", " fps", 1),
        f"p50/p95/p99 {latency} ms",
        shown("dropped", " dropped"),
        shown("queue", " queued"),
    ]
    return ", ".join(part for part in [*parts, shown("temperature_c", " °C", 1)] if part)
