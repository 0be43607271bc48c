"""Who comes in: every connection is counted from its first byte on, and one that is slow or idle has to leave.

    accept --full? the one that is idle for longest leaves, or the new one--> [TLS] --> Connection --> aiohttp

aiohttp bounds the size of what is asked; time and number are bounded here.
"""

import asyncio
import socket
import ssl
import time
from contextlib import suppress

from aiohttp import web

from service.page.pace import Pace
from service.page.refusals import Refusals

CONNECTIONS = 96
"""20 viewers with a stream and two pictures each, and some others."""
ASKING_S = 10.0
"""From the end of one request, or the begin of the connection, to the whole head of the next one."""
TAKING_S = 15.0
"""For which a client may leave us with something that it does not take."""
HANDSHAKE_S = 5.0
LOOK_S = 1.0


class Connection(asyncio.Protocol):
    """One client, between the transport and aiohttp's own protocol."""

    def __init__(self, inner: web.RequestHandler, door: "Door", remote: str) -> None:
        self._inner = inner
        self._door = door
        self.remote = remote
        self.transport: asyncio.Transport | None = None
        self.asking_since_s: float | None = time.monotonic()
        """None while a request is answered."""
        self.full_since_s: float | None = None
        self.has_begun = False
        """Whether it has sent something of its next request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP and TLS are
        self.transport = transport
        self._door.connections[transport] = self
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.has_begun = True
        self._door.pace.hold()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        self._inner.eof_received()
        return None

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self._door.connections.pop(self.transport, None)
        self._door.left()
        self._inner.connection_lost(exc)

    @property
    def is_open(self) -> bool:
        """Whether it has not been told to leave yet."""
        return self.transport is not None and not self.transport.is_closing()

    def look(self, now_s: float) -> str | None:
        """Why it has to leave, as a sentence goes on after "refused"; "": for no fault of its own; None: it stays."""
        if self.transport is None or not self.is_open:
            return None
        if self.transport.get_write_buffer_size() > 0:
            self.full_since_s = self.full_since_s or now_s
            slow = now_s > self.full_since_s + TAKING_S
            # What it asks for next has to wait for that, and is not late meanwhile.
            return "to wait for a client that does not take its answer" if slow else None
        self.full_since_s = None
        if self.asking_since_s is None or now_s <= self.asking_since_s + ASKING_S:
            return None
        # A browser opens connections that it then does not need, and keeps those that it may need.
        return "to wait for a request that does not come to its end" if self.has_begun else ""


class Door:
    """All connections of a listening socket. Used by the thread `http` alone.

    Args:
        server: makes aiohttp's protocols.
        tls: when the page comes encrypted.
        refusals: what is refused.
        pace: held by whatever comes.
    """

    def __init__(self, server: web.Server, tls: ssl.SSLContext | None, refusals: Refusals, pace: Pace) -> None:
        self._server = server
        self._tls = tls
        self._refusals = refusals
        self.pace = pace
        self.connections: dict[asyncio.BaseTransport, Connection] = {}
        self._count = 0
        """With those that shake hands."""
        self._shaking: set[asyncio.Task[None]] = set()

    def begins(self, request: web.BaseRequest) -> None:
        """A request is whole and is answered now."""
        if connection := self.connections.get(request.transport):  # type: ignore[arg-type]  # None is in no dict
            connection.asking_since_s = None

    def ends(self, request: web.BaseRequest) -> None:
        """It is answered."""
        if connection := self.connections.get(request.transport):  # type: ignore[arg-type]  # None is in no dict
            connection.asking_since_s, connection.has_begun = time.monotonic(), False

    def left(self) -> None:
        """A connection is over."""
        self._count -= 1

    async def accept(self, listener: socket.socket) -> None:
        """Let them in, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listener)
            except OSError:  # the process has no room for another file: that passes
                await asyncio.sleep(LOOK_S)
                continue
            self.pace.hold()
            if self._count >= CONNECTIONS and not self._made_room():
                client.close()
                self._refusals.note(address[0], f"a connection above {CONNECTIONS}")
                continue
            self._count += 1
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._let_in(client, address[0]))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)
            # While others queue, sock_accept does not pause: who was let in is to be known first, for it may make room.
            await asyncio.sleep(0)

    async def look_around(self) -> None:
        """Send away who is slow, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._refusals.tell()
            now_s = time.monotonic()
            for connection in list(self.connections.values()):
                wrong = connection.look(now_s)
                if wrong:
                    self._refusals.note(connection.remote, wrong)
                if wrong is not None and connection.transport is not None:
                    connection.transport.abort()

    def close(self) -> None:
        """Everybody out."""
        for task in self._shaking:
            task.cancel()
        for connection in list(self.connections.values()):
            if connection.transport is not None:
                connection.transport.abort()

    async def _let_in(self, client: socket.socket, remote: str) -> None:
        loop = asyncio.get_running_loop()
        made: list[Connection] = []

        def make() -> Connection:
            made.append(Connection(self._server(), self, remote))
            return made[0]

        try:
            await loop.connect_accepted_socket(
                make,
                client,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_S if self._tls else None,
            )
        except (OSError, TimeoutError):  # what is no TLS, and who does not come to the end of it
            if not made or made[0].transport is None:
                self.left()
            with suppress(OSError):
                client.close()
            self._refusals.note(remote, "a connection that is no TLS")

    def _made_room(self) -> bool:
        """Whether somebody who asks for nothing was sent away."""
        idle = [c for c in self.connections.values() if c.asking_since_s is not None and c.is_open]
        if not idle:
            return False
        longest = min(idle, key=lambda connection: connection.asking_since_s or 0.0)
        if longest.transport is not None:
            longest.transport.abort()
        return True
