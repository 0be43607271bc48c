"""From `emit` to the broker's acknowledgement, with a real outbox and a real mosquitto."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from conftest import Mosquitto
from delivery import Delivery, deliver, until
from paho.mqtt.enums import CallbackAPIVersion

from service.publisher import Retained


@pytest.fixture
def rig(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Delivery]:
    delivery = deliver(tmp_path / "outbox.db", mosquitto.port)
    assert delivery.connection.wait_for_the_first(10)
    yield delivery
    if delivery.publisher.is_alive:
        delivery.publisher.stop([], 5)


@pytest.fixture
def commits(rig: Delivery) -> list[str]:
    """Grows with every transaction."""
    commits: list[str] = []
    assert rig.outbox._db is not None
    rig.outbox._db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    return commits


def test_everything_leaves_the_outbox(rig: Delivery) -> None:
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


def test_the_goodbye_comes_after_the_last_decision(rig: Delivery, heard: list[str]) -> None:
    for _ in range(1000):
        rig.emit()
    assert rig.publisher.stop([Retained("goodbye", b"{}", qos=1)], 20) == 0
    assert until(lambda: len(heard) == 1001)
    assert heard[-1] == "goodbye"


def test_the_goodbye_is_said_even_when_time_is_up(rig: Delivery, heard: list[str]) -> None:
    for _ in range(3000):
        rig.emit()
    left = rig.publisher.stop([Retained("goodbye", b"{}", qos=1)], 0)
    assert until(lambda: "goodbye" in heard)
    assert left + heard.count("factory/line1/defects") >= 3000


def test_what_was_refused_is_offered_to_the_next_connection(rig: Delivery, mosquitto: Mosquitto) -> None:
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


def test_a_decision_costs_one_write_and_not_two(rig: Delivery, commits: list[str]) -> None:
    """The removal of what was acknowledged travels with the next decision."""
    for _ in range(20):
        rig.emit()
        time.sleep(0.02)
    assert until(lambda: rig.publisher.backlog == 0)
    assert len(commits) <= 23


def test_a_burst_shares_its_writes(rig: Delivery, commits: list[str]) -> None:
    for _ in range(400):
        rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert len(commits) < 20


def test_a_disk_that_recovers_loses_nothing(rig: Delivery, caplog: pytest.LogCaptureFixture) -> None:
    assert rig.outbox._db is not None
    rig.outbox._db.execute("PRAGMA query_only = ON")
    for _ in range(50):
        rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert "decisions wait in memory" in rig.publisher.problem
    rig.outbox._db.execute("PRAGMA query_only = OFF")
    assert until(lambda: rig.publisher.problem == "")
    rig.emit()
    assert until(lambda: rig.publisher.backlog == 0)
    assert rig.outbox.last_part("line1") == 51
    assert caplog.text.count("the outbox cannot be written") == 1
