"""Decisions that are numbered and encoded, and not on disk yet: where the inspecting threads end and `publish` begins.

Neither waits for the other: the lock is held for an append, or for an exchange of lists.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from service.outbox import Message


@dataclass(slots=True)
class _Numbers:
    """The numbers of one line. Encoding happens under this lock, so that messages come in the order of `part`."""

    part: int
    lock: threading.Lock = field(default_factory=threading.Lock)


class Waiting:
    """A bounded list, many threads in, one out. When it is full the oldest is evicted and counted.

    Args:
        last_seq: the numbering of messages goes on after it.
        last_part: the number of the last decision of a line.
        limit: how many messages may wait.
    """

    def __init__(self, last_seq: int, last_part: Callable[[str], int], limit: int) -> None:
        self._lock = threading.Lock()
        self._seq = last_seq
        self._last_part = last_part
        self._limit = limit
        self._messages: deque[Message] = deque()
        self._lines: dict[str, _Numbers] = {}
        self._parts: dict[str, int] = {}
        self.evicted: Counter[str] = Counter()
        """By line, since the start."""
        self.seen = 0
        """How many came and were not evicted here."""

    def __len__(self) -> int:
        return len(self._messages)

    def put(
        self, line: str, topic: str, decided_at_ns: int, correlation: bytes | None, encode: Callable[[int], bytes]
    ) -> bool:
        """Number and append a decision; `encode` makes its payload from `part`. Whether it is alone there."""
        numbers = self._lines.get(line) or self._lines.setdefault(line, _Numbers(self._last_part(line)))
        with numbers.lock:
            part = numbers.part + 1
            payload = encode(part)
            numbers.part = part
            with self._lock:
                self._seq += 1
                self._messages.append(Message(self._seq, line, topic, payload, decided_at_ns, correlation))
                self._parts[line] = part
                if len(self._messages) > self._limit:
                    self.evicted[self._messages.popleft().line] += 1
                else:
                    self.seen += 1
                return len(self._messages) == 1

    def take(self) -> tuple[deque[Message], dict[str, int]]:
        """Everything that waits, in order, and the last numbers of the lines up to there."""
        with self._lock:
            taken, self._messages = self._messages, deque()
            return taken, dict(self._parts)
