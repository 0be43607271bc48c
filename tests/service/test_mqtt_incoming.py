"""What is sent to us: nothing of it may end the connection for good, or be taken for what it is not."""

import resource
import subprocess
from typing import Any

import paho.mqtt.client as paho
import pytest
from broker_script import PUBLISH, SUBSCRIBE, Peer, ScriptedBroker, publish, text
from conftest import Mosquitto
from mqtt_rig import Connect, acknowledged, quiet, told, until
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from service.mqtt import Incoming

TRIGGER = "a/trigger"


def say(mosquitto: Mosquitto, *options: str, payload: bytes = b"now") -> None:
    """What a PLC does."""
    command = ["mosquitto_pub", "-p", str(mosquitto.port), "-V", "5", "-q", "1", "-t", TRIGGER, "-s", *options]
    subprocess.run(command, input=payload, check=True)


def answer_to(topic: str, correlation: str = "c") -> list[str]:
    return ["-D", "publish", "response-topic", topic, "-D", "publish", "correlation-data", correlation]


def test_a_message_with_all_that_belongs_to_it(mosquitto: Mosquitto, connect: Connect) -> None:
    say(mosquitto, "-r", payload=b"of yesterday")
    connection = connect(mosquitto.port, start=False)
    got: list[Incoming] = []
    connection.subscribe(TRIGGER, got.append)
    connection.start()
    assert until(lambda: connection.connected)
    assert until(lambda: say(mosquitto, *answer_to("plc/answer", "part-7")) or got)  # type: ignore[func-returns-value]  # it says nothing, so that `got` decides
    assert got[0] == Incoming(TRIGGER, b"now", "plc/answer", b"part-7")
    mosquitto.stop()
    got.clear()
    mosquitto.start()
    assert until(lambda: connection.connections == 2)
    assert until(lambda: say(mosquitto) or got)  # type: ignore[func-returns-value]  # it says nothing, so that `got` decides
    assert got[0] == Incoming(TRIGGER, b"now", None, None)


def test_an_answer_carries_correlation_and_expiry(mosquitto: Mosquitto, connect: Connect) -> None:
    heard: list[Any] = []
    ready: list[bool] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = lambda _client, _data, message: heard.append(message)
    client.on_subscribe = lambda *_: ready.append(True)
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("#", qos=1)
    client.loop_start()
    assert until(lambda: ready)
    connection = connect(mosquitto.port)
    assert until(lambda: connection.connected)
    assert acknowledged(
        connection, {connection.publish("plc/answer", b"{}", qos=1, correlation=b"\x00\xff", expiry_s=60)}
    )
    assert until(lambda: heard)
    client.disconnect()
    client.loop_stop()
    said = heard[0].properties
    assert (said.CorrelationData, said.ContentType) == (b"\x00\xff", "application/json")
    assert 55 <= said.MessageExpiryInterval <= 60


def properties(**values: Any) -> bytes:
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
    for name, value in values.items():
        setattr(made, name, value)
    packed: bytes = made.pack()[1:]  # type: ignore[no-untyped-call]  # untyped in paho
    return packed


def bad_messages() -> list[bytes]:
    bad_answers = ["", "plc/#", "+/answer", "$SYS/answer", "line\nbreak", "bell\x07"]
    return [
        publish(b"\xff\xfe/trigger", b"no UTF-8"),
        publish("", b"an alias", properties=properties(TopicAlias=7)),
        publish("somewhere/else", b"not asked for"),
        publish(TRIGGER, b"retained", head=0x31),
        publish(TRIGGER, b"x" * 100_000),
        *(publish(TRIGGER, b"answer me", properties=properties(ResponseTopic=topic)) for topic in bad_answers),
        publish(TRIGGER, b"again", head=0x3A, mid=9),
        publish(TRIGGER, b"again", head=0x3A, mid=9),
        publish(TRIGGER, b"twice", head=0x34, mid=10),
        publish(TRIGGER, b"raise"),
        publish(TRIGGER, b"\x00" * 60_000),
    ]


def test_bad_messages_are_passed_over(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    def hostile(peer: Peer) -> None:
        peer.welcome()
        peer.wait_for(SUBSCRIBE)
        for message in bad_messages():
            peer.send(message)
        peer.send(publish(TRIGGER, b"the last one", properties=properties(ResponseTopic="plc/Antwort/ä")))
        peer.serve()

    broker = ScriptedBroker(hostile)
    connection = connect(broker.port, start=False)
    got: list[Incoming] = []

    def on_message(message: Incoming) -> None:
        got.append(message)
        if message.payload == b"raise":
            raise ValueError("on purpose")

    connection.subscribe(TRIGGER, on_message)
    connection.start()
    assert until(lambda: got and got[-1].payload == b"the last one")
    assert got[-1].response_topic == "plc/Antwort/ä"
    taken = [message.payload for message in got[:-1]]
    assert taken == [b"answer me"] * 6 + [b"again"] * 2 + [b"raise", b"\x00" * 60_000]
    assert [message.response_topic for message in got[:-1]] == [None] * 10
    assert told(caplog, "nothing can be published to the response topic '$SYS/answer' that came on a/trigger")
    assert told(caplog, "a message of 100000 bytes on a/trigger is passed over: it is too large")
    assert told(caplog, "a message on a/trigger could not be handled")
    assert acknowledged(connection, {connection.publish("a/b", b"{}", qos=1)})
    assert connection.connections == 1
    broker.close()


MALFORMED = {
    "NUL in the response topic": publish(TRIGGER, b"", properties=b"\x08" + text("a\0b")),
    "a property twice": publish(TRIGGER, b"", properties=b"\x01\x01\x01\x01"),
    "an unknown property": publish(TRIGGER, b"", properties=b"\x7f\x01"),
    "properties beyond the end": b"\x30\x0d" + text(TRIGGER) + b"\x7f\x01",
    "a topic beyond the end": b"\x30\x03\xff\xffx",
    "QoS 3": publish(TRIGGER, b"", head=0x36, mid=1),
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_message_costs_one_connection(
    what: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def hostile(peer: Peer) -> None:
        peer.welcome()
        peer.wait_for(SUBSCRIBE)
        peer.send(MALFORMED[what])
        peer.serve(puback=None)

    def good(peer: Peer) -> None:
        peer.welcome()
        peer.serve()

    broker = ScriptedBroker(hostile, good)
    connection = connect(broker.port, start=False)
    connection.subscribe(TRIGGER, lambda _message: None)
    handle = connection.publish("a/b", b"{}", qos=1)
    connection.start()
    assert told(caplog, "(Protocol error): decisions are kept in the outbox")
    assert acknowledged(connection, {handle})
    quiet(caplog)
    broker.close()


@pytest.mark.parametrize("level", [4, 5])
def test_a_message_of_256_mb_is_not_even_read(level: int, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is subscribed to for a while: a retained one would come back with each subscription."""

    def hostile(peer: Peer) -> None:
        peer.welcome()
        peer.wait_for(SUBSCRIBE)
        peer.send(b"\x30\xff\xff\xff\x7f" + text(TRIGGER))
        for _ in range(255):
            peer.send(b"x" * (1 << 20))

    def old(peer: Peer) -> None:
        peer.read()
        peer.send(b"\x20\x02\x00\x01")

    def good(peer: Peer) -> None:
        peer.welcome()
        peer.serve()

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    broker = ScriptedBroker(*([old] if level == 4 else []), hostile, good)
    connection = connect(broker.port, start=False)
    connection.subscribe(TRIGGER, lambda _message: None)
    connection.start()
    assert told(caplog, "sends a packet of 268435455 bytes: the connection is dropped; find out who publishes that")
    assert until(lambda: connection.connections == 2)
    assert acknowledged(connection, {connection.publish("a/b", b"{}", qos=1)})
    assert len(broker.of(SUBSCRIBE)) == 1
    assert len({got.topic for got in broker.of(PUBLISH)}) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024
    broker.close()


def test_a_refused_subscription_is_told(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.serve(suback=0x87)

    broker = ScriptedBroker(script)
    connection = connect(broker.port, start=False)
    connection.subscribe(TRIGGER, lambda _message: None)
    connection.start()
    assert told(caplog, "refuses the subscription to a/trigger: Not authorized: let edgecls-test read it")
    broker.close()
