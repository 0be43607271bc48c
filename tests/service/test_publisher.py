"""From `emit` to the broker's acknowledgement, with a real outbox and a real mosquitto."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from conftest import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion

from edge.classification import Classification
from edge.clock import SystemClock
from edge.decision import Decision, Latency
from service.messages import ModelInfo
from service.mqtt import MqttConnection, Will
from service.outbox import Outbox
from service.publisher import Publisher, Retained
from service.sections import MqttSection

MODEL = ModelInfo("test", "1.0.0", "int8")


def decision() -> Decision:
    return Decision(
        line="line1",
        verdict="reject",
        classification=Classification(("ok", "scratch"), (0.1, 0.9)),
        decided_at_ns=time.time_ns(),
        seq=1,
        captured_at_ns=time.time_ns(),
        width=320,
        height=240,
        file=None,
        latency=Latency(0.1, 1.0, 1.5),
    )


@dataclass
class Rig:
    publisher: Publisher
    outbox: Outbox
    connection: MqttConnection
    commits: list[str] = field(default_factory=list)

    def emit(self) -> None:
        self.publisher.emit(decision(), "factory/line1/defects", MODEL)

    def disk_takes_nothing(self) -> None:
        assert self.outbox._db is not None
        self.outbox._db.execute("PRAGMA query_only = ON")

    def disk_is_well(self) -> None:
        assert self.outbox._db is not None
        self.outbox._db.execute("PRAGMA query_only = OFF")


@pytest.fixture
def rig(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Rig]:
    outbox = Outbox(tmp_path / "outbox.db", 10_000_000)
    publisher = Publisher("cell-7", outbox, SystemClock(), ["line1"])
    settings = MqttSection(port=mosquitto.port)
    connection = MqttConnection(settings, "edgecls-test", Will("w", b""), 64, publisher.wake)
    rig = Rig(publisher, outbox, connection)
    assert outbox._db is not None
    outbox._db.set_trace_callback(lambda text: rig.commits.append(text) if text == "COMMIT" else None)
    publisher.start(connection, list)
    assert connection.wait_for_the_first(10)
    yield rig
    if publisher.is_alive:
        publisher.stop([], 5)


def until(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_everything_leaves_the_outbox(rig: Rig) -> None:
    for _ in range(500):
        rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert rig.publisher.stop([], 5) == 0


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[list[str]]:
    """The topics of what a subscriber received, in order."""
    topics: list[str] = []
    ready = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _client, _data, message: topics.append(message.topic)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    assert ready.wait(10)
    yield topics
    client.disconnect()
    client.loop_stop()


def test_the_goodbye_comes_after_the_last_decision(rig: Rig, heard: list[str]) -> None:
    for _ in range(1000):
        rig.emit()
    assert rig.publisher.stop([Retained("goodbye", b"{}", qos=1)], 20) == 0
    assert until(lambda: len(heard) == 1001)
    assert heard[-1] == "goodbye"


def test_the_goodbye_is_said_even_when_time_is_up(rig: Rig, heard: list[str]) -> None:
    for _ in range(3000):
        rig.emit()
    left = rig.publisher.stop([Retained("goodbye", b"{}", qos=1)], 0)
    assert until(lambda: "goodbye" in heard)
    assert left + heard.count("factory/line1/defects") >= 3000


def test_what_was_refused_is_offered_to_the_next_connection(rig: Rig, mosquitto: Mosquitto) -> None:
    rules = mosquitto.folder / "rules"
    rules.write_text("topic read #\n")
    mosquitto.stop()
    mosquitto.configure("allow_anonymous true", f"acl_file {rules}")
    mosquitto.start()
    assert until(lambda: rig.connection.connections == 2)
    for _ in range(5):
        rig.emit()
    assert until(lambda: rig.publisher._sender._refused)
    time.sleep(0.3)
    assert rig.publisher.backlog == 5
    mosquitto.stop()
    rules.write_text("topic readwrite #\n")
    mosquitto.start()
    assert until(lambda: rig.publisher.backlog == 0)


def test_a_decision_costs_one_write_and_not_two(rig: Rig) -> None:
    """The removal of what was acknowledged travels with the next decision."""
    for _ in range(20):
        rig.emit()
        time.sleep(0.02)
    assert until(lambda: rig.publisher.backlog == 0)
    assert len(rig.commits) <= 23


def test_a_burst_shares_its_writes(rig: Rig) -> None:
    for _ in range(400):
        rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert len(rig.commits) < 100


def test_a_disk_that_recovers_loses_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.disk_takes_nothing()
    for _ in range(50):
        rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert "decisions wait in memory" in rig.publisher.problem
    rig.disk_is_well()
    assert until(lambda: rig.publisher.problem == "")
    rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert rig.outbox.last_part("line1") == 51
    assert caplog.text.count("the outbox cannot be written") == 1
