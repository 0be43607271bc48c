"""Decisions that are numbered and not on disk yet: where the inspecting threads end and `publish` begins.

Neither waits for the other: the lock is held for an append, or for an exchange of lists.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from edge.decision import Decision
from service.messages import ModelInfo


@dataclass(frozen=True, slots=True)
class Emitted:
    """A decision with its numbers: `part` of its line, `seq` over all lines."""

    seq: int
    part: int
    decision: Decision
    topic: str
    model: ModelInfo
    correlation: bytes | None


class Waiting:
    """A bounded list, many threads in, one out. When it is full the oldest is evicted and counted.

    Args:
        last_seq: the numbering of messages goes on after it.
        last_part: the number of the last decision of a line.
        limit: how many decisions may wait.
    """

    def __init__(self, last_seq: int, last_part: Callable[[str], int], limit: int) -> None:
        self._lock = threading.Lock()
        self._seq = last_seq
        self._last_part = last_part
        self._limit = limit
        self._emitted: deque[Emitted] = deque()
        self._parts: dict[str, int] = {}
        self.evicted: Counter[str] = Counter()
        """By line, since the start."""
        self.seen = 0
        """How many came and were not evicted here."""

    def __len__(self) -> int:
        return len(self._emitted)

    def put(self, decision: Decision, topic: str, model: ModelInfo, correlation: bytes | None) -> bool:
        """Number and append a decision. Whether it is alone there."""
        line = decision.line
        with self._lock:
            self._seq += 1
            self._parts[line] = part = self._parts.get(line, self._last_part(line)) + 1
            self._emitted.append(Emitted(self._seq, part, decision, topic, model, correlation))
            if len(self._emitted) > self._limit:
                self.evicted[self._emitted.popleft().decision.line] += 1
            else:
                self.seen += 1
            return len(self._emitted) == 1

    def take(self) -> tuple[deque[Emitted], dict[str, int]]:
        """Everything that waits, in order, and the last numbers of the lines up to there."""
        with self._lock:
            taken, self._emitted = self._emitted, deque()
            return taken, dict(self._parts)
