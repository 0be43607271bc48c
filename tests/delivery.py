"""A publisher at work: a real outbox, a real connection, and decisions to emit."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.classification import Classification
from edge.clock import SystemClock
from edge.decision import Decision, Evidence, Ruling
from service.messages import ModelInfo
from service.mqtt import MqttConnection, Will
from service.outbox import Outbox
from service.publisher import IN_FLIGHT, Publisher, Retained
from service.sections import MqttSection

MODEL = ModelInfo("test", "1.0.0", "int8")
TOPIC = "factory/line1/defects"


def decision(line: str = "line1") -> Decision:
    now_ns = time.time_ns()
    scores = Classification(("ok", "scratch"), (0.1, 0.9))
    return Decision(line, Ruling("reject", Evidence(scores, 1, now_ns, 320, 240, None, 0.1, 1.0)), now_ns, 1.5)


def until(condition: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@dataclass
class Delivery:
    publisher: Publisher
    outbox: Outbox
    connection: MqttConnection
    troubles: list[str] = field(default_factory=list)
    """What `problem` said each time it changed."""

    def emit(self, count: int = 1, line: str = "line1", correlation: bytes | None = None) -> None:
        for _ in range(count):
            self.publisher.emit(decision(line), f"factory/{line}/defects", MODEL, correlation)

    def stored(self, count: int) -> bool:
        """Whether so many come to lie on disk, and the disk takes them."""
        until(lambda: self.outbox.count == count or self.publisher.problem != "")
        return not self.publisher.problem

    def delivered(self, timeout_s: float = 20) -> bool:
        return until(lambda: self.publisher.backlog == 0, timeout_s)


def deliver(
    path: Path, port: int, *, max_bytes: int = 10_000_000, births: Callable[[], list[Retained]] = list
) -> Delivery:
    """A publisher that is started; it is up to the test to stop it."""
    outbox = Outbox(path, max_bytes)
    publisher = Publisher("cell-7", outbox, SystemClock(), ["line1"])
    settings = MqttSection(host="127.0.0.1", port=port)
    connection = MqttConnection(settings, "edgecls-test", Will("w", b""), IN_FLIGHT, publisher.wake)
    delivery = Delivery(publisher, outbox, connection)
    publisher.start(connection, births, lambda: delivery.troubles.append(publisher.problem))
    return delivery
