"""The thread `publish`: from decided to acknowledged.

    inspecting threads --emit--> [waiting, bounded] --> outbox (disk) --> MQTT --> acknowledged --> out of the outbox

`emit` only numbers and appends; the disk and the network are this thread's business. While the disk takes nothing,
decisions go from memory to the broker, after those that are stored; what the broker has not acknowledged by then is
stored when the disk takes it again.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import uuid6

from edge.clock import Clock
from edge.decision import Decision
from edge.stills import Still
from service.activity import Activity, Hang
from service.delivery_times import DeliveryTimes
from service.messages import Json, ModelInfo, decision_message, encode
from service.mqtt import MqttConnection
from service.mqtt_packets import JSON
from service.outbox import Message, Outbox, OutboxWriteError
from service.sender import IN_FLIGHT, Sender
from service.waiting import Emitted, Waiting

__all__ = ["IN_FLIGHT", "Publisher", "Retained"]

log = logging.getLogger(__name__)

WAITING_LIMIT = 4096
"""Messages that wait for the disk: as many in `waiting`, and as many again while the disk takes nothing."""
COMMIT_NS = 50_000_000
"""From the end of one transaction to the next: an SD card counts its writes."""
ROUND_NS = 2_000_000
"""Acknowledgements come one by one; what came within this time is handled at once."""
DISK_RETRY_NS = 1_000_000_000
REMOVAL_NS = 1_000_000_000
REMOVALS = 512
GOODBYE_NS = 1_000_000_000
TELL_EVICTED_NS = 60_000_000_000
WAIT_HANGS_S = 30.0
SENDING_HANGS_S = 300.0
"""It may have to read what is stored, from a disk that is slow."""


@dataclass(frozen=True, slots=True)
class Retained:
    """A retained message: only the newest of a topic counts, it is never stored."""

    topic: str
    payload: bytes
    qos: int
    expiry_s: int | None = None
    """For how long the broker may keep it; MQTT 5 only."""
    content_type: str = JSON
    """MQTT 5 only."""


class Publisher:
    """Stores decisions and sends them until they are acknowledged.

    Args:
        node: this device's name.
        outbox: used by this thread alone once it is started.
        clock: for `late`.
        lines: names of the lines; their numbering goes on where the outbox says. Others may follow.
        keep: takes every message with the picture of what it is about; called by the thread, and does not wait.
    """

    def __init__(
        self,
        node: str,
        outbox: Outbox,
        clock: Clock,
        lines: Iterable[str],
        keep: Callable[[Json, Still | None], None] = lambda _message, _still: None,
    ) -> None:
        self._node = node
        self._keep = keep
        self._outbox = outbox
        self._clock = clock
        self._woken = threading.Event()
        self._waiting = Waiting(outbox.last_seq, outbox.last_part, WAITING_LIMIT)
        self._parts = {line: outbox.last_part(line) for line in lines}
        self._unstored: dict[int, Message] = {}
        """Taken from `waiting`, not on disk yet; by `seq`, in order, all newer than what is stored."""
        self._lock = threading.Lock()
        self._retained: dict[str, Retained] = {}
        self._births: Callable[[], list[Retained]] = list
        self._on_trouble: Callable[[], None] = lambda: None
        self._acknowledged: set[int] = set()
        """Stored, and to be removed with the next transaction."""
        self._next_commit_ns = 0
        self._removed_at_ns = 0
        self._openings = outbox.openings
        self._progress = (0, outbox.count)
        """How many were taken from `waiting`, and how many are with us unacknowledged; exchanged together."""
        self.delivery = DeliveryTimes(clock)
        self._evicted: Counter[str] = Counter()
        self._told_evicted = 0
        self._tell_evicted_ns = 0
        self._stop_by_ns: int | None = None
        self._drain_ns = 0
        self._patient: Callable[[], bool] = lambda: False
        self._last: list[Retained] = []
        self._activity = Activity(clock)
        self._thread = threading.Thread(target=self._run, name="publish")
        self.problem = outbox.problem
        """What is wrong with the outbox, one sentence for people; empty when all is well."""

    def start(
        self,
        connection: MqttConnection,
        births: Callable[[], list[Retained]],
        on_trouble: Callable[[], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            connection: to the broker; started here.
            births: gives the retained messages that every new connection begins with.
            on_trouble: called from this thread when `problem` has changed.
        """
        self._connection = connection
        self._sender = Sender(connection, self._outbox, self._clock)
        self._births = births
        self._on_trouble = on_trouble or self._on_trouble
        if self.problem:
            log.error(self.problem)
        connection.start()
        self._thread.start()

    def wake(self) -> None:
        """Something changed; look. Called from any thread."""
        self._woken.set()

    def emit(self, decision: Decision, topic: str, model: ModelInfo, correlation: bytes | None = None) -> None:
        """Number a decision and hand it over. Called by the inspecting threads; never waits for disk or network."""
        if self._waiting.put(decision, topic, model, correlation):
            self._woken.set()

    def retain(self, message: Retained) -> None:
        """Send a retained message as soon as there is a connection, in place of an older one of the same topic."""
        with self._lock:
            self._retained[message.topic] = message
        self._woken.set()

    @property
    def backlog(self) -> int:
        """Decisions that the broker has not acknowledged yet."""
        taken, held = self._progress
        return self._waiting.seen - taken + held

    @property
    def evicted(self) -> Mapping[str, int]:
        """Decisions that were given up since the start, by line: the outbox or the memory was full, or too large."""
        return Counter(dict(self._evicted)) + Counter(dict(self._waiting.evicted))

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def hang(self) -> Hang | None:
        """What the thread does for longer than it may. It may wait for the disk for ever."""
        return self._activity.hang

    def stop(self, last: list[Retained], timeout_s: float, patient: Callable[[], bool] = lambda: False) -> int:
        """Send what is left, then `last`, and end. Returns how many decisions stay in the outbox.

        Args:
            last: retained messages.
            timeout_s: how long to try.
            patient: whether that time begins anew with every acknowledgement.
        """
        self._last = last
        self._drain_ns = int(timeout_s * 1e9)
        self._patient = patient
        self._stop_by_ns = self._clock.monotonic_ns() + self._drain_ns
        self._woken.set()
        self._thread.join()
        self._connection.stop()
        self._next_commit_ns = 0
        self._store()
        self._outbox.close()
        if self._unstored:
            log.error("%d decisions could not be stored: they are lost", len(self._unstored))
        return self._outbox.count - len(self._acknowledged)

    def _run(self) -> None:
        round_ns = 0
        while not self._finished():
            self._activity.does("waiting for decisions", WAIT_HANGS_S)
            self._say_goodbye_when_done()
            self._woken.wait(self._pause_s())
            early_ns = round_ns + ROUND_NS - self._clock.monotonic_ns()
            if early_ns > 0:
                self._clock.sleep(early_ns / 1e9)
            round_ns = self._clock.monotonic_ns()
            self._woken.clear()
            self._take_acknowledged()
            self._activity.does("storing decisions", None)
            self._store()
            self._activity.does("sending decisions", SENDING_HANGS_S)
            if self._connection.connected:
                self._greet()
                self._send_retained()
                self._send_decisions()
            self._tell_evicted()

    def _pause_s(self) -> float:
        """Until something is due of itself."""
        longest = 0.2 if self._stop_by_ns else 1.0
        if not (self._waiting or self._acknowledged or self.problem):
            return longest
        due_ns = self._next_commit_ns
        if not (self._waiting or self.problem or self._many_to_remove()):
            due_ns = self._removed_at_ns + REMOVAL_NS
        return min(longest, max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9))

    def _finished(self) -> bool:
        if self._stop_by_ns is None or self._last:
            return False
        over = self._clock.monotonic_ns() > self._stop_by_ns + GOODBYE_NS
        return over or not (self.backlog or self._acknowledged or self._retained or self._sender.in_flight)

    def _say_goodbye_when_done(self) -> None:
        """The last retained messages follow the last decision, or the time that there was for it."""
        if self._stop_by_ns is None or not self._last:
            return
        if not self.backlog or self._clock.monotonic_ns() > self._stop_by_ns:
            for message in self._last:
                self.retain(message)
            self._last = []

    def _take_acknowledged(self) -> None:
        acknowledged = self._sender.take_acknowledged()
        for seq in acknowledged:
            self.delivery.end(seq)
            self._leave(seq)
        if acknowledged and self._stop_by_ns is not None and self._patient():
            self._stop_by_ns = self._clock.monotonic_ns() + self._drain_ns
        self._note_progress()

    def _store(self) -> None:
        """What was decided goes to disk and what was acknowledged leaves it, in one transaction."""
        due = self._clock.monotonic_ns() >= self._next_commit_ns
        if self.problem or (due and self._waiting):
            self._take_waiting()
        if not due or not (self._unstored or self.problem or self._outbox.suspect or self._removal_is_due()):
            return
        try:
            evicted = self._outbox.update(list(self._unstored.values()), self._acknowledged, self._parts)
        except OutboxWriteError as error:
            self._next_commit_ns = self._clock.monotonic_ns() + DISK_RETRY_NS
            self._keep_within_memory()
            self._now(str(error))
        else:
            self._unstored.clear()
            self._acknowledged.clear()
            self._removed_at_ns = self._clock.monotonic_ns()
            self._next_commit_ns = self._removed_at_ns + COMMIT_NS
            if evicted:
                self._evicted += evicted
                self._sender.forget_what_was_read()
            self._now("")
        if self._outbox.openings != self._openings:
            self._openings = self._outbox.openings
            self._sender.begin_again()
        self._note_progress()

    def _take_waiting(self) -> None:
        taken, parts = self._waiting.take()
        self._unstored.update((emitted.seq, self._message(emitted)) for emitted in taken)
        self._parts |= parts
        self._progress = self._progress[0] + len(taken), self._progress[1] + len(taken)
        if self.problem:
            self._keep_within_memory()

    def _message(self, emitted: Emitted) -> Message:
        """Encoded here and not in `emit`: the inspecting thread has better things to do."""
        decision = emitted.decision
        message_id = str(uuid6.uuid7())
        json = decision_message(
            decision, node=self._node, model=emitted.model, part=emitted.part, message_id=message_id
        )
        self._keep(json, decision.ruling.still)
        self.delivery.begin(emitted.seq, decision)
        return Message(
            emitted.seq, decision.line, emitted.topic, encode(json), decision.decided_at_ns, emitted.correlation
        )

    def _keep_within_memory(self) -> None:
        """The oldest go first, but not those that are on their way."""
        surplus = len(self._unstored) - WAITING_LIMIT
        if surplus <= 0:
            return
        flying = self._sender.in_flight
        for seq in [seq for seq in self._unstored if seq not in flying][:surplus]:
            self._evicted[self._unstored.pop(seq).line] += 1

    def _note_progress(self) -> None:
        self._progress = self._progress[0], len(self._unstored) + self._outbox.count - len(self._acknowledged)

    def _removal_is_due(self) -> bool:
        """Removals travel with the next decision or wait a second for each other."""
        early = self._clock.monotonic_ns() < self._removed_at_ns + REMOVAL_NS
        return bool(self._acknowledged) and (not early or self._many_to_remove())

    def _many_to_remove(self) -> bool:
        return len(self._acknowledged) >= REMOVALS or (self._stop_by_ns is not None and bool(self._acknowledged))

    def _now(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            log.error(problem)
        else:
            log.info("the outbox is written again")
        self._on_trouble()

    def _tell_evicted(self) -> None:
        if not (self._evicted or self._waiting.evicted):
            return
        count = sum(self.evicted.values())
        if count > self._told_evicted and self._clock.monotonic_ns() >= self._tell_evicted_ns:
            self._told_evicted = count
            self._tell_evicted_ns = self._clock.monotonic_ns() + TELL_EVICTED_NS
            log.error("%d of the oldest decisions evicted so far: raise outbox.max_mib, or mend what is wrong", count)

    def _greet(self) -> None:
        """On a new connection: the retained messages first, so that subscribers see the state while we catch up."""
        if self._sender.notice_new_connection():
            births = self._births()
            with self._lock:
                for message in births:
                    self._retained.setdefault(message.topic, message)

    def _send_retained(self) -> None:
        with self._lock:
            messages, self._retained = list(self._retained.values()), {}
        for message in messages:
            self._sender.send_retained(
                message.topic, message.payload, message.qos, message.expiry_s, message.content_type
            )

    def _send_decisions(self) -> None:
        """What is in memory goes out unstored only while the disk takes nothing."""
        in_memory = self._unstored if self.problem else {}
        for message in self._sender.send_decisions(self._acknowledged, in_memory):
            self._evicted[message.line] += 1
            self._leave(message.seq)
        self._note_progress()

    def _leave(self, seq: int) -> None:
        """It is out of memory, or will be out of the outbox with the next transaction."""
        if self._unstored.pop(seq, None) is None:
            self._acknowledged.add(seq)
