"""The thread `publish`: from decided to acknowledged.

    inspecting threads --emit--> [waiting, bounded] --> outbox (disk) --> MQTT --> acknowledged --> out of the outbox

`emit` only takes a lock and appends; the disk and the network are this thread's business. When the disk is so slow
that `waiting` fills up, `emit` blocks: frames are dropped at the mailbox then, decisions are not.
"""

import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import uuid6

from edge.clock import Clock
from edge.decision import Decision
from service.messages import Json, ModelInfo, decision_message, encode
from service.mqtt import MqttConnection
from service.outbox import NewMessage, Outbox, StoredMessage

log = logging.getLogger(__name__)

IN_FLIGHT = 64
WAITING_LIMIT = 4096
DISK_RETRY_S = 1.0
GOODBYE_NS = 1_000_000_000
REMOVAL_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Retained:
    """A retained message: only the newest of a topic counts, it is never stored."""

    topic: str
    payload: bytes
    qos: int


class Publisher:
    """Stores decisions and sends them until they are acknowledged.

    Args:
        node: this device's name.
        outbox: used by this thread alone once it is started.
        clock: for `late`.
        lines: names of the lines; their numbering goes on where the outbox says.
    """

    def __init__(self, node: str, outbox: Outbox, clock: Clock, lines: Iterable[str]) -> None:
        self._node = node
        self._outbox = outbox
        self._clock = clock
        self._wake = threading.Condition()
        self._woken = False
        self._waiting: deque[NewMessage] = deque()
        self._retained: dict[str, Retained] = {}
        self._parts = {line: outbox.last_part(line) for line in lines}
        self._births: Callable[[], list[Retained]] = list
        self._in_flight: dict[int, int] = {}
        """Message id of paho to `seq` of the outbox, 0 for a retained message."""
        self._sent_before: set[int] = set()
        """What was in flight when the present connection began."""
        self._sent_up_to = 0
        self._acknowledged: set[int] = set()
        self._refused = False
        """The broker did not accept some: they are offered again to the next connection."""
        self._removed_at_ns = 0
        self._stored = outbox.count
        self._evicted = 0
        self._start_over = False
        self._seen_connections = 0
        self._connected_at_ns = 0
        self._closing = False
        self._stop_by_ns: int | None = None
        self._last: list[Retained] = []
        self._thread = threading.Thread(target=self._run, name="publish")

    def start(self, connection: MqttConnection, births: Callable[[], list[Retained]]) -> None:
        """Start the thread. `births` gives the retained messages that every new connection begins with."""
        self._connection = connection
        self._births = births
        connection.start()
        self._thread.start()

    def wake(self) -> None:
        """Something changed; look. Called from any thread."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def emit(self, decision: Decision, topic: str, model: ModelInfo) -> None:
        """Number a decision and hand it over. Called by the inspecting threads."""
        with self._wake:
            self._wake.wait_for(lambda: len(self._waiting) < WAITING_LIMIT or self._closing)
            part = self._parts[decision.line] + 1
            self._parts[decision.line] = part
            message = decision_message(decision, node=self._node, model=model, part=part, message_id=str(uuid6.uuid7()))
            self._waiting.append(NewMessage(decision.line, part, topic, encode(message), decision.decided_at_ns))
            self._woken = True
            self._wake.notify_all()

    def retain(self, message: Retained) -> None:
        """Send a retained message as soon as there is a connection, in place of an older one of the same topic."""
        with self._wake:
            self._retained[message.topic] = message
            self._woken = True
            self._wake.notify_all()

    @property
    def backlog(self) -> int:
        """Decisions that the broker has not acknowledged yet."""
        return len(self._waiting) + self._stored

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """From now on `emit` waits no longer: the lines are about to end, and must not hang on a dead disk."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()

    def stop(self, last: list[Retained], timeout_s: float) -> int:
        """Send what is left, then `last`, and end. Returns how many decisions stay in the outbox."""
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        with self._wake:
            self._last = last
            self._stop_by_ns = deadline_ns
            self._woken = True
            self._wake.notify_all()
        self._thread.join()
        self._connection.stop()
        self._outbox.close()
        if self._waiting:
            log.error("%d decisions could not be stored: they are lost", len(self._waiting))
        return self._outbox.count

    def _run(self) -> None:
        while not self._finished():
            self._say_goodbye_when_done()
            with self._wake:
                self._wake.wait_for(lambda: self._woken, timeout=0.2 if self._stop_by_ns else 1.0)
                self._woken = False
            try:
                if self._connection.renew_if_refused():
                    self._in_flight.clear()
                    self._sent_before.clear()
                    self._sent_up_to = 0
                self._store()
                if self._connection.connected:
                    self._greet()
                    self._send_retained()
                    self._send_decisions()
            except sqlite3.Error as error:
                # One sentence: where in SQLite it failed helps nobody.
                log.error("the outbox cannot be written (%s): decisions wait in memory, trying again", error)  # noqa: TRY400
                self._clock.sleep(DISK_RETRY_S)

    def _finished(self) -> bool:
        if self._stop_by_ns is None or self._last:
            return False
        over = self._clock.monotonic_ns() > self._stop_by_ns + GOODBYE_NS
        return over or not (self._waiting or self._stored or self._retained or self._in_flight)

    def _say_goodbye_when_done(self) -> None:
        """The last retained messages follow the last decision, or the time that there was for it."""
        if self._stop_by_ns is None or not self._last:
            return
        if not (self._waiting or self._stored) or self._clock.monotonic_ns() > self._stop_by_ns:
            for message in self._last:
                self.retain(message)
            self._last = []

    def _store(self) -> None:
        """What was decided goes to disk and what was acknowledged leaves it, in one transaction."""
        with self._wake:
            new = list(self._waiting)
        accepted, refused = self._connection.take_acknowledged()
        for mid in refused & self._in_flight.keys():
            del self._in_flight[mid]
            self._refused = True
        self._acknowledged = (self._acknowledged | accepted) & self._in_flight.keys()
        if not new and not self._removal_is_due():
            return
        self._removed_at_ns = self._clock.monotonic_ns()
        self._outbox.update(new, [self._in_flight[mid] for mid in self._acknowledged])
        for mid in self._acknowledged:
            del self._in_flight[mid]
        if self._outbox.evicted > self._evicted:
            self._evicted = self._outbox.evicted
            log.error(
                "the outbox is full: %d of the oldest decisions evicted so far; raise outbox.max_mib", self._evicted
            )
        with self._wake:
            for _ in new:
                self._waiting.popleft()
            self._stored = self._outbox.count
            self._wake.notify_all()

    def _removal_is_due(self) -> bool:
        """Removals travel with the next decision or wait a second for each other: an SD card counts its writes."""
        waited_ns = self._clock.monotonic_ns() - self._removed_at_ns
        early = waited_ns < REMOVAL_NS and len(self._acknowledged) < IN_FLIGHT // 2
        return bool(self._acknowledged) and (self._stop_by_ns is not None or not early)

    def _greet(self) -> None:
        """On a new connection: the retained messages first, so that subscribers see the state while we catch up."""
        if self._connection.connections == self._seen_connections:
            return
        self._seen_connections = self._connection.connections
        self._connected_at_ns = self._clock.now_ns()
        self._sent_before = {mid for mid, seq in self._in_flight.items() if seq}
        self._start_over, self._refused = self._refused, False
        births = self._births()
        with self._wake:
            for message in births:
                self._retained.setdefault(message.topic, message)

    def _send_retained(self) -> None:
        with self._wake:
            messages = list(self._retained.values())
            self._retained.clear()
        for message in messages:
            mid = self._connection.publish(message.topic, message.payload, qos=message.qos, retain=True)
            if mid is not None and message.qos:
                self._in_flight[mid] = 0  # no message of the outbox: removing it is harmless

    def _send_decisions(self) -> None:
        """The oldest first. What was in flight when a connection broke is sent again by paho, before anything new."""
        self._sent_before &= self._in_flight.keys() - self._acknowledged
        room = IN_FLIGHT - len(self._in_flight)
        if self._sent_before or room <= 0:
            return
        if self._start_over:
            self._start_over = False
            self._sent_up_to = 0
        for message in self._outbox.after(self._sent_up_to, room):
            mid = self._connection.publish(message.topic, self._payload(message), qos=1)
            if mid is None:
                return
            self._in_flight[mid] = message.seq
            self._sent_up_to = message.seq

    def _payload(self, message: StoredMessage) -> bytes:
        if message.decided_at_ns >= self._connected_at_ns:
            return message.payload
        late: Json = json.loads(message.payload)
        late["late"] = True
        return encode(late)
