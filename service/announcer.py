"""What is told over MQTT besides decisions: states and health of the lines, birth and farewell of the device."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Literal

from edge.clock import Clock
from service.evidence.store import EvidenceStore
from service.health import temperature_c
from service.lines import Managed
from service.messages import Counts, LineState, encode, health_message, state_message, status_message
from service.publisher import Publisher, Retained

HEARTBEAT_S = 10
TTL_S = 3 * HEARTBEAT_S


class Announcer:
    """Makes the retained messages of one device.

    Args:
        node: its name.
        publisher: takes them, and knows what ails the outbox.
        evidence: knows what ails the folder of the pictures.
        clock: the time.
    """

    def __init__(self, node: str, publisher: Publisher, evidence: EvidenceStore, clock: Clock) -> None:
        self._node = node
        self._publisher = publisher
        self._evidence = evidence
        self._clock = clock

    def state(self, managed: Managed) -> None:
        """Tell the state of a line."""
        self._publisher.retain(self._state(managed))

    def heartbeat(self, managed: Managed) -> None:
        """Tell the state of a line and its figures since the last time."""
        self.state(managed)
        counts = managed.line.counts
        managed.health.last_latency_ms = managed.line.take_latencies()
        message = health_message(
            node=self._node,
            line=managed.line.name,
            now_ns=self._clock.now_ns(),
            fps=managed.health.fps(counts.frames, self._clock.monotonic_ns()),
            latency_ms=managed.health.last_latency_ms,
            dropped=counts.dropped,
            queue=self._publisher.backlog,
            temperature=temperature_c(),
        )
        topic = f"{managed.section.topic}/health"
        self._publisher.retain(Retained(topic, encode(message), qos=0, expiry_s=TTL_S))

    def removed(self, managed: Managed) -> None:
        """Tell that a line has ended for good. Where MQTT 5 is spoken the broker forgets it after a while."""
        now_ns = self._clock.now_ns()
        message = self._state_message(managed, "waiting", "removed from the configuration", now_ns)
        self._publisher.retain(Retained(f"{managed.section.topic}/state", message, qos=1, expiry_s=TTL_S))

    def online(self, lines: Iterable[Managed]) -> None:
        """Tell which lines there are now."""
        self._publisher.retain(self._online(lines))

    def births(self, lines: Iterable[Managed]) -> list[Retained]:
        """What every connection begins with."""
        return [self._online(lines), *(self._state(managed) for managed in lines)]

    def farewell(self, lines: Iterable[Managed]) -> list[Retained]:
        """What is said last."""
        offline = Retained(self.status_topic, self.status("offline", topics_of(lines)), qos=1)
        return [*(self._state(managed) for managed in lines), offline]

    @property
    def status_topic(self) -> str:
        """Where the device tells whether it is there."""
        return f"edgecls/{self._node}/status"

    def status(self, status: Literal["online", "offline"], topics: dict[str, str]) -> bytes:
        """What it tells there; `topics` of the lines by their names."""
        message = status_message(
            node=self._node, status=status, now_ns=self._clock.now_ns(), version=version("edgecls"), lines=topics
        )
        return encode(message)

    def _online(self, lines: Iterable[Managed]) -> Retained:
        return Retained(self.status_topic, self.status("online", topics_of(lines)), qos=1)

    def _state(self, managed: Managed) -> Retained:
        hang, status = managed.line.hang, managed.line.status
        if hang is not None:  # the line cannot say so itself
            since_ns = self._clock.now_ns() - int(hang.seconds * 1e9)
            message = self._state_message(managed, "fault", str(hang), since_ns)
        else:
            reason = status.reason or self._publisher.problem or self._evidence.problem
            message = self._state_message(managed, status.state, reason, status.since_ns)
        return Retained(f"{managed.section.topic}/state", message, qos=1, expiry_s=TTL_S)

    def _state_message(self, managed: Managed, state: LineState, reason: str, since_ns: int) -> bytes:
        counts: Counts = managed.line.counts
        message = state_message(
            node=self._node,
            line=managed.line.name,
            state=state,
            reason=reason,
            since_ns=since_ns,
            now_ns=self._clock.now_ns(),
            counts=counts,
            evicted=self._publisher.evicted.get(managed.line.name, 0),
            ttl_s=TTL_S,
            doubts=managed.line.doubts,
        )
        return encode(message)


def topics_of(lines: Iterable[Managed]) -> dict[str, str]:
    """Topics of lines by their names."""
    return {managed.line.name: managed.section.topic for managed in lines}
