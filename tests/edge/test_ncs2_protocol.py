"""What the daemon and the worker of the NCS2 say to each other: every field is checked, and nothing hangs."""

import socket
import struct
from collections.abc import Iterator

import pytest

from edge.ncs2.protocol import Done, Failed, Hello, Message, Reason, Run, receive, send
from edge.packets import ProtocolError, text_of

Pair = tuple[socket.socket, socket.socket]
MESSAGES: tuple[Message, ...] = (
    Hello(1, 160, 120, 3, 4, b"2022.3.2"),
    Run(2**32 - 1),
    Done(7, 1234),
    Failed(Reason.NO_DEVICE, b"NC_ERROR"),
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(5)
        yield ours, theirs


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was(pair: Pair, message: Message) -> None:
    send(pair[1], message)
    got = receive(pair[0])
    assert type(got) is type(message)
    assert got is not None
    assert [text_of(field) if isinstance(field, bytes) else field for field in got] == [
        field.decode() if isinstance(field, bytes) else field for field in message
    ]


def test_messages_do_not_run_into_each_other(pair: Pair) -> None:
    for number in range(5):
        send(pair[1], Run(number))
    assert [receive(pair[0]) for _ in range(5)] == [Run(number) for number in range(5)]


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"x", "1 bytes are no message"),
        (b"HTTP/1.1 400 Bad Request", "a message begins with b'HTTP'"),
        (struct.pack("<4sHHI", b"ncs2", 2, 2, 1), "a message of version 2, not 1"),
        (struct.pack("<4sHHI", b"ncs2", 1, 9, 1), "a message of an unknown kind, 9"),
        (struct.pack("<4sHHH", b"ncs2", 1, 2, 1), "Run has 12 bytes, not 10"),
        (struct.pack("<4sHHII", b"ncs2", 1, 2, 1, 1), "Run has 12 bytes, not 16"),
        (struct.pack("<4sHH", b"ncs2", 1, 4) + bytes(100_000), "Failed has 1036 bytes, not 1037"),
    ],
)
def test_what_is_no_message_is_refused(pair: Pair, packet: bytes, complaint: str) -> None:
    pair[1].send(packet)
    with pytest.raises(ProtocolError) as caught:
        receive(pair[0])
    assert str(caught.value) == complaint


def test_the_end_of_the_connection_is_told_from_silence(pair: Pair) -> None:
    pair[0].settimeout(0.01)
    with pytest.raises(TimeoutError):
        receive(pair[0])
    pair[1].close()
    assert receive(pair[0]) is None
