"""Messages between `publish` and the broker's answer: never more of them in flight than the broker has room for.

paho has such records of its own, but they cannot follow a broker that lowers its limit: what was in flight before a
reconnect it sends again all at once.
"""

import threading
from collections import deque
from dataclasses import dataclass

MAX_SPAN = 30_000
"""A message id comes round again after 65535 messages; the oldest one must have been answered long before."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out."""

    handle: int
    """Ours, and never used twice, unlike the message ids of MQTT."""
    topic: str
    payload: bytes
    qos: int
    retain: bool
    correlation: bytes | None
    expires_at: float | None
    """Seconds of the monotonic clock."""
    content_type: str


class Window:
    """What waits, what is in flight, what has been answered.

    Any thread puts messages in and takes answers out; the rest is the network thread's business.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.size = limit
        """How many QoS 1 messages may be in flight on this connection."""
        self._lock = threading.Lock()
        self._handles = 0
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: dict[int, tuple[Outgoing, float]] = {}
        """Message id of this connection to the message and when it was sent; the oldest first."""
        self._accepted: set[int] = set()
        self._refused: set[int] = set()

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool,
        correlation: bytes | None,
        expires_at: float | None,
        content_type: str,
    ) -> int:
        """Append a message; its handle."""
        with self._lock:
            self._handles += 1
            message = Outgoing(self._handles, topic, payload, qos, retain, correlation, expires_at, content_type)
            self._waiting.append(message)
            return self._handles

    def begin(self, size: int) -> None:
        """A new connection: what was in flight comes first again, in the old order. QoS 0 was worth nothing later."""
        with self._lock:
            self.size = min(self._limit, size)
            again = [message for message, _ in self._in_flight.values()]
            self._in_flight.clear()
            self._waiting = deque(message for message in (*again, *self._waiting) if message.qos)

    @property
    def in_flight(self) -> int:
        """How many QoS 1 messages are."""
        return len(self._in_flight)

    def take(self) -> Outgoing | None:
        """The next message, when there is room for it."""
        with self._lock:
            if not self._waiting or (self._waiting[0].qos and len(self._in_flight) >= self.size):
                return None
            oldest = next((message.handle for message, _ in self._in_flight.values()), self._waiting[0].handle)
            if self._waiting[0].handle - oldest > MAX_SPAN:
                return None
            return self._waiting.popleft()

    def sent(self, message: Outgoing, mid: int, now: float) -> None:
        """Note that a QoS 1 message has gone out as `mid`."""
        with self._lock:
            self._in_flight[mid] = message, now

    def answered(self, mid: int, *, accepted: bool) -> None:
        """Note the broker's answer. One for something that is not in flight means nothing."""
        with self._lock:
            found = self._in_flight.pop(mid, None)
            if found:
                (self._accepted if accepted else self._refused).add(found[0].handle)

    def refuse(self, message: Outgoing) -> None:
        """Note that this message cannot be sent on this connection."""
        with self._lock:
            self._refused.add(message.handle)

    def oldest_sent_at(self) -> float | None:
        """When the message that has waited longest for its answer was sent."""
        with self._lock:
            return next((at for _, at in self._in_flight.values()), None)

    def take_answers(self) -> tuple[set[int], set[int]]:
        """The handles accepted since the last call, and those refused."""
        with self._lock:
            answers = self._accepted, self._refused
            self._accepted, self._refused = set(), set()
        return answers
