"""Between an RTSP client and its server: it passes on what both say, and damages the pictures (RTP within TCP)."""

import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from conftest import a_free_port

HEAD = 12
"""Bytes of an RTP packet before its picture; the time stamp is the second four of them."""


def flip(packet: bytearray, chance: random.Random) -> None:
    """Some bits of the picture."""
    for _ in range(chance.choice((0, 0, 1, 10, 100))):
        packet[chance.randrange(HEAD, len(packet))] ^= 1 << chance.randrange(8)


def wild_times(packet: bytearray, chance: random.Random) -> None:
    """Time stamps that jump anywhere."""
    packet[4:8] = chance.randbytes(4)


def lose(packet: bytearray, chance: random.Random) -> None:
    """Every fifth packet, or the end of it."""
    if not chance.randrange(5):
        del packet[chance.choice((0, HEAD, len(packet) // 2)) :]


def break_frames(packet: bytearray, chance: random.Random) -> None:
    """Now and then the length in front of a packet is wrong: what follows is not where it should be."""
    if not chance.randrange(40):
        packet += chance.randbytes(chance.randrange(1, 200))


DAMAGES: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flipped bits": flip,
    "wild time stamps": wild_times,
    "lost packets": lose,
    "broken framing": break_frames,
}


class DamagingProxy:
    """Passes on to a port of this machine; `damage` may be set to another of `DAMAGES` or None at any time."""

    def __init__(self, server_port: int, seed: int) -> None:
        self.port = a_free_port()
        self.damage: str | None = None
        self.damaged = 0
        self._server_port = server_port
        self._chance = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port), 5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                for work in (self._there, self._back):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _there(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        """Answers are passed on as they are; a picture's packet begins with `$`, its channel and its length."""
        with suppress(OSError, EOFError), client, server, server.makefile("rb") as stream:
            while first := stream.read(1):
                if first != b"$":
                    client.sendall(first + stream.readline())
                    continue
                head = stream.read(3)
                packet = bytearray(stream.read(int.from_bytes(head[1:], "big")))
                length = len(packet)
                if self.damage is not None and head[0] == 0 and length > HEAD:
                    DAMAGES[self.damage](packet, self._chance)
                    self.damaged += 1
                if self.damage != "broken framing":
                    length = len(packet)
                client.sendall(first + head[:1] + length.to_bytes(2, "big") + packet)
            client.shutdown(socket.SHUT_RDWR)
