"""Which decision goes to MQTT next, and what is in flight. Used by the thread `publish` alone."""

import json
import logging
from collections import deque
from collections.abc import Collection, Mapping

from edge.clock import Clock
from service.messages import Json, encode
from service.mqtt import MqttConnection
from service.outbox import Message, Outbox

log = logging.getLogger(__name__)

IN_FLIGHT = 64
READ_AHEAD = 256
_NOT_LATE = b'"late":false}'
_LATE = b'"late":true}'


class Sender:
    """Sends decisions in the order of `seq`, a bounded number in flight.

    Args:
        connection: to the broker.
        outbox: where decisions are read.
        clock: for `late`.
    """

    def __init__(self, connection: MqttConnection, outbox: Outbox, clock: Clock) -> None:
        self._connection = connection
        self._outbox = outbox
        self._clock = clock
        self._in_flight: dict[int, int] = {}
        """What the connection calls it to `seq`, 0 for a retained message."""
        self._sent_before: set[int] = set()
        """What was in flight when the present connection began."""
        self._sent_up_to = 0
        self._ahead: deque[Message] = deque()
        """Read from the outbox and not sent yet."""
        self._refused = False
        """The broker did not accept some: they are offered again to the next connection."""
        self._start_over = False
        self._connections = 0
        self._connected_at_ns = 0
        self._told: set[str] = set()

    @property
    def in_flight(self) -> set[int]:
        """The decisions on their way, by `seq`; 0 stands for the retained messages."""
        return set(self._in_flight.values())

    def begin_again(self) -> None:
        """With the oldest decision. Those that are in flight or acknowledged are skipped then."""
        self._sent_up_to = 0
        self._ahead.clear()

    def forget_what_was_read(self) -> None:
        """Something was removed from the outbox without having been sent."""
        self._ahead.clear()

    def take_acknowledged(self) -> list[int]:
        """The decisions (`seq`) that the broker has accepted since the last call."""
        accepted, refused = self._connection.take_acknowledged()
        for mid in refused & self._in_flight.keys():
            del self._in_flight[mid]
            self._refused = True
        return [seq for mid in accepted if (seq := self._in_flight.pop(mid, 0))]

    def notice_new_connection(self) -> bool:
        """Whether there is one that was not there at the last call."""
        if self._connection.connections == self._connections:
            return False
        self._connections = self._connection.connections
        self._connected_at_ns = self._clock.now_ns()
        self._sent_before = {mid for mid, seq in self._in_flight.items() if seq}
        self._start_over, self._refused = self._refused, False
        return True

    def send_retained(self, topic: str, payload: bytes, qos: int, expiry_s: int | None, content_type: str) -> None:
        """At once, before any decision that was not sent yet."""
        mid = self._connection.publish(
            topic, payload, qos=qos, retain=True, expiry_s=expiry_s, content_type=content_type
        )
        if mid is not None and qos:
            self._in_flight[mid] = 0

    def send_decisions(self, acknowledged: Collection[int], in_memory: Mapping[int, Message]) -> list[Message]:
        """As many as there is room for, the oldest first: what is stored, then what is in memory alone.

        What was in flight when a connection broke is sent again by the connection, before anything new.

        Returns:
            Those that no broker will ever take; they are not tried again.
        """
        hopeless: list[Message] = []
        self._sent_before &= self._in_flight.keys()
        room = min(self._connection.window, IN_FLIGHT) - len(self._in_flight)
        if self._sent_before or room <= 0:
            return hopeless
        if self._start_over:
            self._start_over = False
            self.begin_again()
        skipped = self.in_flight.union(acknowledged)
        before = room
        while room > 0 and (message := self._next(skipped, in_memory)):
            try:
                if not self._send(message):
                    break
                room -= 1
            except ValueError as error:  # a damaged topic or payload holds nobody up
                self._tell_once(f"line {message.line}: a decision is given up: MQTT cannot carry it ({error})")
                hopeless.append(message)
            self._sent_up_to = message.seq
        if room < before:
            self._connection.send()
        return hopeless

    def _next(self, skipped: set[int], in_memory: Mapping[int, Message]) -> Message | None:
        while True:
            while self._ahead:
                message = self._ahead[0]
                if message.seq > self._sent_up_to and message.seq not in skipped:
                    return message
                self._sent_up_to = max(self._sent_up_to, message.seq)
                self._ahead.popleft()
            if self._sent_up_to < self._outbox.last_seq:
                self._ahead.extend(self._outbox.after(self._sent_up_to, READ_AHEAD))
            if not self._ahead:
                break
        return next((m for seq, m in in_memory.items() if seq > self._sent_up_to and seq not in skipped), None)

    def _send(self, message: Message) -> bool:
        payload = self._payload(message)
        mid = self._connection.publish(message.topic, payload, qos=1, correlation=message.correlation, at_once=False)
        if mid is None:
            return False
        self._in_flight[mid] = message.seq
        return True

    def _payload(self, message: Message) -> bytes:
        """With `late` set when it was decided before the present connection."""
        if message.decided_at_ns >= self._connected_at_ns:
            return message.payload
        if message.payload.endswith(_NOT_LATE):
            return message.payload[: -len(_NOT_LATE)] + _LATE
        late: Json = json.loads(message.payload)
        late["late"] = True
        return encode(late)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.error(text)
