"""Acknowledgements as brokers send them: many at a time, in pieces, with and without reason codes and properties."""

import time
from collections.abc import Iterator

import pytest
from broker_script import PUBLISH, Peer, ScriptedBroker, packet
from mqtt_rig import Connect, Connections, acknowledged, until

COUNT = 12


@pytest.fixture
def connect() -> Iterator[Connect]:
    connections = Connections()
    yield connections.make
    connections.stop()


def answers(*bodies: bytes) -> bytes:
    return b"".join(packet(0x40, body) for body in bodies)


def take(peer: Peer, count: int = COUNT) -> list[bytes]:
    """The message ids of what came."""
    return [peer.wait_for(PUBLISH).mid.to_bytes(2, "big") for _ in range(count)]


def together(mids: list[bytes]) -> list[bytes]:
    return [answers(*mids)]


def byte_by_byte(mids: list[bytes]) -> list[bytes]:
    return [bytes([byte]) for byte in answers(*mids)]


def cut_anywhere(mids: list[bytes]) -> list[bytes]:
    data = answers(*(mid + b"\x10" for mid in mids))
    return [data[at : at + 7] for at in range(0, len(data), 7)]


def in_every_form(mids: list[bytes]) -> list[bytes]:
    """A ping is answered in between; the reason string says nothing that matters."""
    forms = (b"", b"\x00", b"\x10", b"\x00\x00", b"\x10\x05\x1f\x00\x02ok")
    bodies = [mid + forms[number % len(forms)] for number, mid in enumerate(mids)]
    return [answers(*bodies[:5]) + packet(0xD0) + answers(*bodies[5:])]


@pytest.mark.parametrize("pieces", [together, byte_by_byte, cut_anywhere, in_every_form], ids=lambda way: way.__name__)
def test_every_acknowledgement_is_understood(pieces: object, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        assert callable(pieces)
        for piece in pieces(take(peer)):
            peer.send(piece)
            time.sleep(0.002)
        peer.serve()

    broker = ScriptedBroker(script)
    connection = connect(broker.port)
    assert connection.wait_for_the_first(10)
    assert acknowledged(connection, {connection.publish("a/b", b"{}", qos=1) for _ in range(COUNT)})
    assert connection.connections == 1
    broker.close()


@pytest.mark.parametrize("body", [b"\x00", b"\x00\x01\x42"], ids=["too short", "an unknown reason"])
def test_what_is_no_acknowledgement_ends_the_connection(body: bytes, connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        take(peer, 1)
        peer.send(answers(body))
        peer.serve()

    broker = ScriptedBroker(script, script)
    connection = connect(broker.port)
    handle = connection.publish("a/b", b"{}", qos=1)
    assert until(lambda: connection.connections == 2)
    assert handle not in connection.take_acknowledged()[0]
    broker.close()


def test_a_refused_message_is_not_taken_for_an_accepted_one(connect: Connect) -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        first, second, third = take(peer, 3)
        peer.send(answers(first, second + b"\x97", third))
        peer.serve()

    broker = ScriptedBroker(script)
    connection = connect(broker.port)
    handles = [connection.publish("a/b", b"{}", qos=1) for _ in range(3)]
    answered: tuple[set[int], set[int]] = (set(), set())

    def look() -> bool:
        for kept, new in zip(answered, connection.take_acknowledged(), strict=True):
            kept.update(new)
        return len(answered[0]) + len(answered[1]) == 3

    assert until(look)
    assert answered == ({handles[0], handles[2]}, {handles[1]})
    broker.close()
