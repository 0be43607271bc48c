"""A broker that does what a script says, packet by packet: for what no good broker does."""

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 8, 12, 14


def length(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(head: int, body: bytes = b"") -> bytes:
    return bytes([head]) + length(len(body)) + body


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2, "big") + data


def publish(
    topic: str | bytes, payload: bytes, *, head: int = 0x30, mid: int = 0, properties: bytes | None = b""
) -> bytes:
    """A PUBLISH to the client; `properties` without their length, None for MQTT 3.1.1."""
    middle = (mid.to_bytes(2, "big") if head & 0x06 else b"") + (
        b"" if properties is None else length(len(properties)) + properties
    )
    return packet(head, text(topic) + middle + payload)


@dataclass(frozen=True)
class Packet:
    """What the client sent."""

    kind: int
    head: int
    body: bytes
    size: int
    level: int

    @property
    def topic(self) -> str:
        return self.body[2 : 2 + int.from_bytes(self.body[:2], "big")].decode()

    @property
    def mid(self) -> int:
        at = 2 + len(self.topic.encode()) if self.kind == PUBLISH else 0
        return int.from_bytes(self.body[at : at + 2], "big")

    @property
    def payload(self) -> bytes:
        rest = self.body[2 + len(self.topic.encode()) + (2 if self.head & 0x06 else 0) :]
        if self.level < 5:
            return rest
        return rest[Properties(PacketTypes.PUBLISH).unpack(rest)[1] :]  # type: ignore[no-untyped-call]  # untyped in paho

    @property
    def connect_properties(self) -> Any:
        return Properties(PacketTypes.CONNECT).unpack(self.body[10:])[0]  # type: ignore[no-untyped-call]  # untyped in paho

    @property
    def keepalive_s(self) -> int:
        return int.from_bytes(self.body[8:10], "big")


class Gone(Exception):  # noqa: N818  # no error: the client has hung up
    """The client is not there any more."""


class Peer:
    """The client at the other end of one connection."""

    def __init__(self, sock: socket.socket, heard: list[Packet]) -> None:
        self.sock = sock
        self.level = 5
        self._heard = heard

    def _bytes(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.sock.recv(count - len(data))
            except OSError as error:
                raise Gone from error
            if not more:
                raise Gone
            data += more
        return data

    def read(self) -> Packet:
        head, size, shift = self._bytes(1)[0], 0, 0
        header = 1
        while True:
            digit = self._bytes(1)[0]
            header += 1
            size |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                break
        body = self._bytes(size)
        if head >> 4 == CONNECT:
            self.level = body[6]
        got = Packet(head >> 4, head, body, header + size, self.level)
        self._heard.append(got)
        return got

    def wait_for(self, kind: int) -> Packet:
        while (got := self.read()).kind != kind:
            pass
        return got

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def welcome(self, properties: bytes = b"", code: int = 0) -> Packet:
        """Take the CONNECT, answer with a CONNACK; the CONNECT."""
        got = self.wait_for(CONNECT)
        more = length(len(properties)) + properties if got.level == 5 else b""
        self.send(packet(0x20, bytes([0, code]) + more))
        return got

    def acknowledge(self, got: Packet, code: int = 0) -> None:
        if got.head & 0x06:
            self.send(packet(0x40, got.mid.to_bytes(2, "big") + (bytes([code]) if code else b"")))

    def serve(self, *, ping: bool = True, puback: int | None = 0, suback: int = 1) -> None:
        """Answer everything until the client hangs up; `puback` None: acknowledge nothing."""
        while True:
            got = self.read()
            if got.kind == PUBLISH and puback is not None:
                self.acknowledge(got, puback)
            elif got.kind == SUBSCRIBE:
                more = b"\0" if self.level == 5 else b""
                self.send(packet(0x90, got.mid.to_bytes(2, "big") + more + bytes([suback])))
            elif got.kind == PINGREQ and ping:
                self.send(packet(0xD0))


Script = Callable[[Peer], None]


def relay(port: int) -> Script:
    """A real broker behind the same address."""

    def script(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as real:
            other = {peer.sock: real, real: peer.sock}
            while True:
                for sock in select.select(list(other), [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    other[sock].sendall(data)

    return script


class ScriptedBroker:
    """One script for each connection, the last one for all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.heard: list[Packet] = []
        self.accepted = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="scripted-broker", daemon=True)
        self._thread.start()

    def of(self, kind: int) -> list[Packet]:
        return [got for got in list(self.heard) if got.kind == kind]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self._open.append(sock)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            self.accepted += 1
            with suppress(Gone, OSError):
                script(Peer(sock, self.heard))
            sock.close()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
