"""Brokers that lower limits, send us away or fall silent."""

import logging
import threading
from pathlib import Path

import pytest
from broker_script import CONNECT, PINGREQ, PUBLISH, SUBSCRIBE, Peer, Script, ScriptedBroker, packet, relay, text
from conftest import Mosquitto
from mqtt_rig import DEFECTS, Connect, Device, acknowledged, parts, told, until
from rig import Subscriber


def answers(peer: Peer) -> None:
    peer.welcome()
    peer.serve()


class Counting:
    """Says how much it takes, acknowledges slowly, and notes how much was in flight."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.most = 0

    def __call__(self, peer: Peer) -> None:
        peer.welcome(b"\x21" + self.maximum.to_bytes(2, "big"))
        waiting = []
        while True:
            peer.sock.settimeout(0.2)  # until nothing more comes
            try:
                waiting.append(peer.wait_for(PUBLISH))
            except Exception:  # noqa: BLE001  # nothing, or the end, which the next call finds
                self.most = max(self.most, len(waiting))
                peer.sock.settimeout(20)
                peer.acknowledge(waiting.pop(0) if waiting else peer.wait_for(PUBLISH))


@pytest.mark.parametrize("maximum", [1, 3])
def test_a_low_receive_maximum_is_kept(maximum: int, tmp_path: Path) -> None:
    """After a reconnect, too: what was in flight with a generous broker must not come all at once."""

    def generous(peer: Peer) -> None:
        peer.welcome()
        for _ in range(40):
            peer.wait_for(PUBLISH)

    counting = Counting(maximum)
    broker = ScriptedBroker(generous, counting)
    device = Device(tmp_path, broker.port)
    device.emit(45)
    assert until(lambda: device.backlog == 0)
    assert device.connection.window == maximum
    assert counting.most == maximum
    device.stop()
    broker.close()
    ours = [got.payload for got in broker.of(PUBLISH)[40:]]
    assert ours[0] == broker.of(PUBLISH)[0].payload
    assert len(ours) == 45


def test_a_low_maximum_packet_size_is_kept(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    def small(peer: Peer) -> None:
        peer.welcome(b"\x27" + (200).to_bytes(4, "big"))
        peer.serve()

    broker = ScriptedBroker(small)
    connection = connect(broker.port)
    assert until(lambda: connection.connected)
    assert connection.largest == 200
    handles = {size: connection.publish("a/b", b"x" * size, qos=1) for size in range(120, 240, 3)}
    refused: set[int] = set()
    taken: set[int] = set()

    def answered() -> bool:
        accepted, no = connection.take_acknowledged()
        taken.update(accepted)
        refused.update(no)
        return len(taken) + len(refused) == len(handles)

    assert until(answered)
    sizes = [got.size for got in broker.of(PUBLISH)]
    assert 197 < max(sizes) <= 200
    assert len(sizes) == len(taken)
    assert handles[237] in refused
    assert told(caplog, "takes 200 bytes at most, and this message has ")
    broker.close()


def test_what_was_too_large_is_offered_to_the_next_broker(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def small(peer: Peer) -> None:
        peer.welcome(b"\x27" + (100).to_bytes(4, "big"))
        until(lambda: "bytes at most" in caplog.text)

    subscriber = Subscriber(mosquitto.port)
    broker = ScriptedBroker(small, relay(mosquitto.port))
    device = Device(tmp_path, broker.port)
    device.emit(5)
    assert until(lambda: device.backlog == 0)
    assert until(lambda: parts(subscriber.on(DEFECTS)) == [1, 2, 3, 4, 5])
    assert device.connection.largest is None
    device.stop()
    subscriber.close()
    broker.close()


def test_a_limit_of_a_real_mosquitto(mosquitto: Mosquitto, connect: Connect) -> None:
    mosquitto.restart("allow_anonymous true", "max_packet_size 300", "max_keepalive 10")
    connection = connect(mosquitto.port)
    assert until(lambda: connection.connected)
    assert connection.largest == 300
    connection.publish("a/b", b"x" * 1000, qos=1)
    assert acknowledged(connection, {connection.publish("a/b", b"x", qos=1)})
    assert connection.connections == 1


def test_the_keepalive_of_the_broker_counts_on_its_connection(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def silent(peer: Peer) -> None:
        peer.welcome(b"\x13\x00\x01")
        peer.serve(ping=False)

    broker = ScriptedBroker(silent, answers)
    connect(broker.port, keepalive_s=1000)
    assert told(caplog, "(no answer to our pings): decisions are kept in the outbox")
    assert len(broker.of(PINGREQ)) == 1
    assert until(lambda: len(broker.of(CONNECT)) == 2)
    assert [got.keepalive_s for got in broker.of(CONNECT)] == [1000, 1000]
    broker.close()


def test_a_broker_that_says_nothing_at_all(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    def mute(peer: Peer) -> None:
        peer.wait_for(SUBSCRIBE)

    broker = ScriptedBroker(mute, answers)
    connection = connect(broker.port, keepalive_s=1)
    assert told(caplog, "takes the connection and says nothing: check that mqtt.port is that of an MQTT broker")
    assert until(lambda: connection.connected)
    broker.close()


def test_a_connack_that_comes_in_pieces(connect: Connect) -> None:
    def slow(peer: Peer) -> None:
        peer.wait_for(CONNECT)
        for byte in packet(0x20, b"\0\0\x03\x21\0\x05"):
            peer.send(bytes([byte]))
            threading.Event().wait(0.05)
        peer.serve()

    broker = ScriptedBroker(slow)
    connection = connect(broker.port)
    assert until(lambda: connection.connected)
    assert connection.window == 5
    broker.close()


def refuses(code: int, properties: bytes = b"") -> Script:
    def script(peer: Peer) -> None:
        peer.welcome(properties, code)

    return script


def sends_away(code: int, properties: bytes = b"") -> Script:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.send(packet(0xE0, bytes([code, len(properties)]) + properties))
        peer.serve()

    return script


ELSEWHERE = b"\x1c" + text("broker2.factory.example:1883")
ENDS = {
    "use another": (refuses(0x9C, ELSEWHERE), "to another one: set mqtt.host to 'broker2.factory.example:1883'"),
    "moved": (refuses(0x9D), "to another one: ask who runs it where it is now, and set mqtt.host"),
    "moves later": (sends_away(0x9D, ELSEWHERE), "to another one: set mqtt.host to 'broker2.factory.example:1883'"),
    "password": (refuses(0x86), "refuses us: Bad user name or password: check mqtt.username and mqtt.password_file"),
    "not allowed": (refuses(0x87), "refuses us: Not authorized: check mqtt.username and mqtt.password_file, and the"),
    "identifier": (refuses(0x85), "refuses us: Client identifier not valid: the broker does not allow our client"),
    "busy": (refuses(0x89), "refuses us: Server busy: decisions are kept in the outbox, trying again"),
    "no retain": (refuses(0x9A), "refuses us: Retain not supported: edgecls needs retained messages"),
    "no QoS 1": (refuses(0, b"\x24\x00"), "knows no QoS 1, and edgecls needs it: allow it on the broker"),
    "taken over": (sends_away(0x8E), "another edgecls with node test is connected to broker"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_broker_that_does_not_want_us_is_quoted(how: str, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    script, said = ENDS[how]
    broker = ScriptedBroker(script)
    connection = connect(broker.port)
    assert told(caplog, said)
    assert until(lambda: said in connection.problem)
    assert not connection.connected
    broker.close()


def test_two_devices_with_one_name_do_not_fight_without_end(
    mosquitto: Mosquitto, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """This mosquitto does not even say that somebody else has taken the place."""
    first = connect(mosquitto.port)
    assert until(lambda: first.connected)
    second = connect(mosquitto.port)
    assert told(caplog, "make sure that no other device is connected as edgecls-test, which is made of node", 60)
    before = first.connections + second.connections
    threading.Event().wait(6)
    assert first.connections + second.connections <= before + 2


def test_a_problem_is_there_until_there_is_none(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.port, start=False)
    assert connection.problem == f"not connected to broker 127.0.0.1:{mosquitto.port} yet"
    connection.start()
    assert until(lambda: connection.connected)
    assert connection.problem == ""
    mosquitto.stop()
    assert until(lambda: "does not answer" in connection.problem or "lost broker" in connection.problem)
    mosquitto.start()
    assert until(lambda: connection.problem == "")


def test_what_we_say_about_ourselves(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    broker = ScriptedBroker(answers)
    connection = connect(broker.port, keepalive_s=33)
    assert until(lambda: connection.connected)
    (got,) = broker.of(CONNECT)
    said = got.connect_properties
    assert (said.SessionExpiryInterval, said.MaximumPacketSize, said.ReceiveMaximum) == (0, 65536, 20)
    assert got.body[7] == 0b0010_1110  # clean start, will at QoS 1, retained
    assert got.keepalive_s == 33
    assert b"application/json" in got.body
    broker.close()
