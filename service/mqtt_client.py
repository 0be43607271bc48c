"""paho's client, with a short way out for our messages and a short way in for their acknowledgements.

paho keeps a record with a lock for each message, writes each packet by itself, and reads byte by byte. The window
(`service/mqtt_window.py`) keeps the records here; so packets are put together elsewhere and go out many at a time, what
has come is read in one piece, and of an acknowledgement nothing is made but two numbers. All else is paho's.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MessageType, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

LARGEST_READ = 1024 * 1024
"""Bytes of a packet that are taken in. MQTT 3.1.1 has no way to say so, and allows for 256 MiB."""
READ_BYTES = 4096
_ACCEPTED = re.compile(rb"\x40(?:\x02(..)|\x03(..)[\x00\x10])", re.DOTALL)
"""A PUBACK without a reason code, or with one that is as good: success, and that nobody listens."""


class OversizedError(OSError):
    """Somebody sends a packet that cannot be meant for us."""


class Client(paho.Client):
    """paho's client, which keeps why its socket failed, and takes in no packet larger than `LARGEST_READ`.

    paho tells neither TLS alerts nor the size of a packet before it has read all of it, and reads nothing more when it
    cannot write. It asks its socket for the rest of a packet in one piece, so here is the place to see all of this.

    Args:
        on_answer: called with the message id and the reason code, None for success, when a QoS 1 message is answered.
        more: as for paho's client.
    """

    failure: OSError | None = None

    def __init__(self, on_answer: Callable[[int, ReasonCode | None], None], *more: Any, **named: Any) -> None:
        super().__init__(*more, **named)
        self._on_answer = on_answer
        self._received = b""
        """Read from the socket and not looked at yet."""

    def next_mid(self) -> int:
        """A message id for a packet of ours; paho takes those of its own from the same row."""
        return self._mid_generate()

    def send(self, packets: bytes) -> None:
        """Send whole PUBLISH packets, as much of them as the socket takes now; the rest when it can be written to.

        What may be acknowledged is not looked after: that is up to the caller.
        """
        self._packet_queue(MessageType.PUBLISH, packets, 0, 1)  # with QoS 0 paho would want to report the sending

    def read(self) -> None:
        """Take in what has come. To be called when the socket can be read."""
        self.loop_read()
        while self._received and self.socket() is not None:
            self._take_acknowledgements()
            if self._received:
                self.loop_read()

    def _take_acknowledgements(self) -> None:
        """Those that have come whole and have nothing else before them; they mostly come many at a time."""
        if self._in_packet["command"]:
            return  # what comes next is the rest of a packet
        at = 0
        while accepted := _ACCEPTED.match(self._received, at):
            self._on_answer(int.from_bytes(accepted[1] or accepted[2], "big"), None)
            at = accepted.end()
        self._received = self._received[at:]

    def _packet_handle(self) -> MQTTErrorCode:
        if self._in_packet["command"] & 0xF0 != MessageType.PUBACK:
            return super()._packet_handle()
        body = self._in_packet["packet"]
        if len(body) < 2 or (len(body) > 2 and self._protocol != MQTTProtocolVersion.MQTTv5):
            raise MalformedPacket("wrong size of packet")
        self._on_answer(body[0] << 8 | body[1], _reason(body[2]) if len(body) > 2 else None)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        try:
            if bufsize > LARGEST_READ:
                raise OversizedError(f"a packet of {bufsize} bytes")
            if not self._received:
                self._received = super()._sock_recv(max(bufsize, READ_BYTES))
        except BlockingIOError:
            raise
        except OSError as error:
            self.failure = error
            raise
        taken, self._received = self._received[:bufsize], self._received[bufsize:]
        return taken

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except (BrokenPipeError, ConnectionResetError) as error:
            # The broker has hung up, but why it did may still be there to be read.
            raise BlockingIOError from error


@lru_cache
def _reason(code: int) -> ReasonCode:
    """What a PUBACK says.

    Raises:
        MalformedPacket: there is no such code.
    """
    try:
        return ReasonCode(PacketTypes.PUBACK, identifier=code)
    except (KeyError, ValueError) as error:
        raise MalformedPacket(f"reason code {code}") from error
