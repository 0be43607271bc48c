"""As much of MQTT's wire format as is needed to follow a conversation: MQTT 3.1.1 and 5, packets CONNECT to PUBACK.

The layout is that of OASIS MQTT 5.0, sections 2.1 (fixed header), 3.1 (CONNECT), 3.3 (PUBLISH) and 3.4 (PUBACK).
"""

from collections.abc import Iterator
from dataclasses import dataclass

CONNECT, PUBLISH, PUBACK = 1, 3, 4
FIRST_FAILURE = 0x80
"""Reason codes from here on say that something was not accepted."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A message; `packet` is 0 with QoS 0."""

    topic: str
    packet: int
    qos: int
    again: bool
    retain: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The broker's answer to a QoS 1 message."""

    packet: int
    accepted: bool


Packet = Publish | Acknowledgement


class Stream:
    """One direction of one connection. Bytes go in as they come, packets come out when they are whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        # Told by the CONNECT. There is none in the broker's direction: the payloads of its PUBLISHes are not right.
        self._is_5 = False

    def feed(self, data: bytes) -> Iterator[Packet]:
        self._bytes += data
        while (sizes := _sizes(self._bytes)) is not None:
            header, length = sizes
            first, body = self._bytes[0], bytes(self._bytes[header : header + length])
            del self._bytes[: header + length]
            kind = first >> 4
            if kind == CONNECT:
                self._is_5 = body[6] == 5
            elif kind == PUBLISH:
                yield self._publish(first, body)
            elif kind == PUBACK:
                yield Acknowledgement(int.from_bytes(body[:2], "big"), length < 3 or body[2] < FIRST_FAILURE)

    def _publish(self, first: int, body: bytes) -> Publish:
        qos = first >> 1 & 3
        end = 2 + int.from_bytes(body[:2], "big")
        topic, packet = body[2:end].decode(), 0
        if qos:
            packet = int.from_bytes(body[end : end + 2], "big")
            end += 2
        if self._is_5:
            properties = _number(body, end)
            assert properties is not None
            end += sum(properties)
        return Publish(topic, packet, qos, bool(first & 8), bool(first & 1), body[end:])


def _sizes(data: bytearray) -> tuple[int, int] | None:
    """Bytes of the fixed header and of what follows, None when the packet is not whole yet."""
    number = _number(data, 1)
    if number is None or len(data) < 1 + sum(number):
        return None
    return 1 + number[0], number[1]


def _number(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """A variable byte integer: its own length, its value. None when it is not whole."""
    value = 0
    for length, byte in enumerate(data[at : at + 4], start=1):
        value |= (byte & 0x7F) << 7 * (length - 1)
        if not byte & 0x80:
            return length, value
    return None
