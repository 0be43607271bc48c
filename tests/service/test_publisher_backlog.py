"""After an outage: states first, then the backlog, oldest first, a bounded number in flight, marked late."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from conftest import Mosquitto
from delivery import TOPIC, Delivery, deliver, until
from paho.mqtt.enums import CallbackAPIVersion
from rig import Subscriber

from service.mqtt import MqttConnection
from service.publisher import WAITING_LIMIT, Publisher, Retained


@pytest.fixture
def broker(mosquitto: Mosquitto) -> Mosquitto:
    """It is away, and keeps what a subscriber is too slow for when it comes."""
    mosquitto.stop()
    mosquitto.configure("allow_anonymous true", "max_queued_messages 0")
    return mosquitto


def state() -> list[Retained]:
    return [Retained("state", b"{}", qos=1)]


@pytest.fixture
def delivery(broker: Mosquitto, tmp_path: Path) -> Iterator[Delivery]:
    delivery = deliver(tmp_path / "outbox.db", broker.port, births=state)
    yield delivery
    if delivery.publisher.is_alive:
        delivery.publisher.stop([], 0)


def in_order(port: int) -> tuple[paho.Client, list[paho.MQTTMessage]]:
    """A subscriber of everything, without schemas."""
    messages: list[paho.MQTTMessage] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    client.on_message = lambda _client, _data, message: messages.append(message)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client, messages


def test_the_backlog_is_drained_behind_the_states(broker: Mosquitto, delivery: Delivery) -> None:
    delivery.emit(1000)
    assert delivery.stored(1000)
    broker.start()
    client, messages = in_order(broker.port)
    delivery.emit(10)
    assert delivery.delivered()
    assert until(lambda: len(messages) == 1011)
    assert [message.topic for message in messages] == ["state", *[TOPIC] * 1010]
    late = [b'"late":true' in message.payload for message in messages[1:]]
    assert late[:1000] == [True] * 1000
    parts = [message.payload.split(b'"part":')[1].split(b",")[0] for message in messages[1:]]
    assert [int(part) for part in parts] == list(range(1, 1011))
    client.disconnect()
    client.loop_stop()


def test_the_correlation_survives_in_the_outbox(
    broker: Mosquitto, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery.emit(correlation=b"\x00who asked")
    delivery.emit()
    assert delivery.stored(2)
    handed_over = []
    send = MqttConnection.publish

    def publish(connection: MqttConnection, topic: str, payload: bytes, **more: object) -> int | None:
        handed_over.append(more.get("correlation"))
        return send(connection, topic, payload, **more)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(MqttConnection, "publish", publish)
    broker.start()
    assert delivery.delivered()
    assert handed_over == [None, b"\x00who asked", None]  # the first is the state


def test_emit_evicts_the_oldest_when_nothing_takes_them(broker: Mosquitto, tmp_path: Path) -> None:
    """As while the disk hangs: the thread that stores is not there at all."""
    made = deliver(tmp_path / "outbox.db", broker.port)
    made.publisher.stop([], 0)
    idle = Publisher("cell-7", made.outbox, made.publisher._clock, ["line1"])
    delivery = Delivery(idle, made.outbox, made.connection)
    delivery.emit(10, line="line2")
    delivery.emit(WAITING_LIMIT)
    assert (idle.evicted, idle.backlog) == ({"line2": 10}, WAITING_LIMIT)
    taken, parts = idle._waiting.take()
    assert [emitted.part for emitted in itertools.islice(taken, 3)] == [1, 2, 3]
    assert parts == {"line1": WAITING_LIMIT, "line2": 10}


def test_lines_that_come_later_are_numbered_too(broker: Mosquitto, delivery: Delivery) -> None:
    broker.start()
    listener = Subscriber(broker.port)
    delivery.emit(3, line="line9")
    assert delivery.delivered()
    assert [m["part"] for m in listener.wait_for("factory/line9/defects", 3)] == [1, 2, 3]
