"""Brokers that break off, say nothing or lie: what is stored arrives all the same once there is a real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from broker_script import CONNECT, PUBLISH, Peer, Script, ScriptedBroker, packet, relay
from conftest import Mosquitto
from mqtt_rig import DEFECTS, Device, parts, quiet, told, until
from rig import Subscriber

COUNT = 150


def at_once(_peer: Peer) -> None:
    pass


def after_connect(peer: Peer) -> None:
    peer.wait_for(CONNECT)


def after_connack(peer: Peer) -> None:
    peer.welcome()


def after_the_first_message(peer: Peer) -> None:
    peer.welcome()
    peer.wait_for(PUBLISH)


def after_some_acknowledgements(peer: Peer) -> None:
    peer.welcome()
    for _ in range(40):
        peer.acknowledge(peer.wait_for(PUBLISH))


def half_a_connack(peer: Peer) -> None:
    peer.wait_for(CONNECT)
    peer.send(b"\x20\x03\x00")


def garbage(peer: Peer) -> None:
    peer.wait_for(CONNECT)
    peer.send(b"\xf0\x05HTTP/")


def garbage_after_connack(peer: Peer) -> None:
    peer.welcome()
    peer.send(b"\xff" * 20)


def a_connack_of_nonsense(peer: Peer) -> None:
    peer.wait_for(CONNECT)
    peer.send(packet(0x20, b"\x00\x00\x05\x21\x00\x00\x7f\x01"))  # a receive maximum of 0, a property that is none


def twice_welcome(peer: Peer) -> None:
    peer.welcome()
    peer.send(packet(0x20, b"\0\0\0"))
    peer.wait_for(PUBLISH)


def acknowledges_what_was_never_sent(peer: Peer) -> None:
    peer.welcome()
    for mid in range(1, 2000, 7):
        peer.send(packet(0x40, (60_000 + mid).to_bytes(2, "big")))
    peer.acknowledge(peer.wait_for(PUBLISH))
    peer.send(packet(0x70, b"\xea\x60"))
    peer.send(packet(0x50, b"\xea\x60"))


def leaves(code: int) -> Script:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.wait_for(PUBLISH)
        peer.send(packet(0xE0, bytes([code, 0])))

    return script


STEPS = {
    "at once": (at_once, "hangs up on us"),
    "after CONNECT": (after_connect, "hangs up on us: see its log, and if it wants TLS set mqtt.tls"),
    "after CONNACK": (after_connack, "(connection closed): decisions are kept in the outbox"),
    "after PUBLISH": (after_the_first_message, "(connection closed): decisions are kept in the outbox"),
    "after 40 PUBACK": (after_some_acknowledgements, "(connection closed): decisions are kept in the outbox"),
    "half a CONNACK": (half_a_connack, "hangs up on us"),
    "garbage": (garbage, "does not speak MQTT 5 or 3.1.1: check mqtt.host and mqtt.port"),
    "garbage later": (garbage_after_connack, "(Protocol error): decisions are kept in the outbox"),
    "nonsense": (a_connack_of_nonsense, "does not speak MQTT"),
    "two CONNACK": (twice_welcome, "(connection closed)"),
    "strange PUBACK": (acknowledges_what_was_never_sent, "(connection closed)"),
    "shutting down": (leaves(0x8B), "(Server shutting down): decisions are kept in the outbox"),
    "quietly": (leaves(0), "(Normal disconnection): decisions are kept in the outbox"),
    "too fast": (leaves(0x96), "(Message rate too high): decisions are kept in the outbox"),
}


@pytest.fixture
def real(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    subscriber = Subscriber(mosquitto.port)
    yield subscriber
    subscriber.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_broker_that_breaks_off_loses_nothing(
    step: str, mosquitto: Mosquitto, real: Subscriber, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script, said = STEPS[step]
    broker = ScriptedBroker(script, relay(mosquitto.port))
    device = Device(tmp_path, broker.port)
    device.emit(COUNT)
    assert told(caplog, said)
    assert until(lambda: device.backlog == 0)
    # What the hostile broker had acknowledged was its own to lose, and nothing after that.
    known = {"after 40 PUBACK": 40, "strange PUBACK": 1}.get(step, 0)
    assert until(lambda: COUNT in parts(real.on(DEFECTS)))
    arrived = parts(real.on(DEFECTS))
    assert arrived[0] <= known + 1
    assert arrived == list(range(arrived[0], COUNT + 1))
    assert device.stop() == 0
    quiet(caplog)
    broker.close()


def test_a_broker_that_never_acknowledges_is_left(
    mosquitto: Mosquitto, real: Subscriber, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def takes_and_says_nothing(peer: Peer) -> None:
        peer.welcome()
        peer.serve(puback=None)

    broker = ScriptedBroker(takes_and_says_nothing, relay(mosquitto.port))
    device = Device(tmp_path, broker.port, silence_s=1.0)
    device.emit(COUNT)
    assert told(caplog, "takes messages and does not acknowledge them")
    assert until(lambda: device.backlog == 0)
    assert until(lambda: len(parts(real.on(DEFECTS))) == COUNT)
    assert parts(real.on(DEFECTS)) == list(range(1, COUNT + 1))
    assert device.stop() == 0
    broker.close()


def test_a_broker_that_never_acknowledges_does_not_hold_up_the_end(tmp_path: Path) -> None:
    def takes_and_says_nothing(peer: Peer) -> None:
        peer.welcome()
        peer.serve(puback=None)

    broker = ScriptedBroker(takes_and_says_nothing)
    device = Device(tmp_path, broker.port)
    device.emit(COUNT)
    assert until(lambda: device.connection.connected)
    assert device.stop(0.5) == COUNT
    broker.close()


def test_a_broker_that_refuses_with_a_full_quota_gets_them_again(
    mosquitto: Mosquitto, real: Subscriber, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(peer: Peer) -> None:
        peer.welcome()
        for _ in range(COUNT):
            peer.acknowledge(peer.wait_for(PUBLISH), 0x97)

    broker = ScriptedBroker(full, relay(mosquitto.port))
    device = Device(tmp_path, broker.port)
    device.emit(COUNT)
    assert told(caplog, "does not accept a message: Quota exceeded: raise its quota")
    assert until(lambda: device.backlog == 0)
    assert until(lambda: len(parts(real.on(DEFECTS))) == COUNT)
    assert parts(real.on(DEFECTS)) == list(range(1, COUNT + 1))
    assert device.stop() == 0
    broker.close()
