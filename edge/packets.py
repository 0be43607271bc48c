"""Messages of fixed layout between the daemon and a worker process.

One message is one packet of a `SOCK_SEQPACKET` pair: it arrives whole or not at all, so a length that is not the
expected one is a mistake and never half a message. Each begins with a magic word, a version and its kind.
"""

import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

_HEADER = struct.Struct("<4sHH")


class ProtocolError(Exception):
    """What came is no message of this protocol."""


class Packets:
    """The messages of one protocol.

    Args:
        magic: four bytes.
        version: refused when it is another one.
        kinds: what its messages are, by number, and how each is laid out.
    """

    def __init__(self, magic: bytes, version: int, kinds: Mapping[int, tuple[type[NamedTuple], struct.Struct]]) -> None:
        self._magic, self._version, self._kinds = magic, version, kinds
        self._numbers = {kind: number for number, (kind, _) in kinds.items()}
        self.longest = _HEADER.size + max(layout.size for _, layout in kinds.values())
        """Bytes."""

    def encode(self, message: Any) -> bytes:
        """One message as it is sent."""
        number = self._numbers[type(message)]
        return _HEADER.pack(self._magic, self._version, number) + self._kinds[number][1].pack(*message)

    def decode(self, packet: bytes) -> Any:
        """The message in a packet.

        Raises:
            ProtocolError: it is none.
        """
        if len(packet) < _HEADER.size:
            raise ProtocolError(f"{len(packet)} bytes are no message")
        magic, version, number = _HEADER.unpack_from(packet)
        if magic != self._magic:
            raise ProtocolError(f"a message begins with {magic!r}")
        if version != self._version:
            raise ProtocolError(f"a message of version {version}, not {self._version}")
        if number not in self._kinds:
            raise ProtocolError(f"a message of an unknown kind, {number}")
        kind, layout = self._kinds[number]
        if len(packet) != _HEADER.size + layout.size:
            raise ProtocolError(f"{kind.__name__} has {_HEADER.size + layout.size} bytes, not {len(packet)}")
        return kind(*layout.unpack_from(packet, _HEADER.size))

    def send(self, channel: socket.socket, message: Any) -> None:
        """Send one message.

        Raises:
            OSError: the other side is gone.
        """
        channel.send(self.encode(message))

    def receive(self, channel: socket.socket) -> Any | None:
        """The next message, or nothing when the other side has closed the connection.

        It waits as the channel's time-out says.

        Raises:
            ProtocolError: it is no message.
            TimeoutError: nothing came in time.
            OSError: the connection broke.
        """
        packet = channel.recv(self.longest + 1)
        return self.decode(packet) if packet else None


def text_of(field: bytes) -> str:
    """A text field without its padding."""
    return field.rstrip(b"\0").decode("utf-8", "replace")
