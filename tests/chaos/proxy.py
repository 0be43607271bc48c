"""A process between the daemon and the broker: it passes on every byte unchanged, and writes down what was said.

    python -m chaos.proxy LISTENING_SOCKET BROKER_PORT RECORD DELAY_MS

LISTENING_SOCKET is the number of an inherited file descriptor. RECORD gets one JSON object per line, in the order of
events, with `at` (CLOCK_MONOTONIC, seconds, the same in all processes of a machine) and `connection` (from 1):

- `ready`: the first line.
- `open`, `close`: a connection through to the broker. When the broker does not answer, the daemon's is closed at once
  and nothing is written. When either side closes, so does the other.
- `publish`: the daemon said it, whether or not the broker ever gets it; with `id`, `line`, `part` and `late` when it is
  a decision.
- `ack`: the broker said it; written *before* the daemon gets to know. So what is unacknowledged according to the
  record is never more than what is unacknowledged according to the daemon.

DELAY_MS is how long everything is under way in each direction: without it hardly anything is ever in flight. SIGUSR1
cuts every connection, SIGTERM ends the process.
"""

import asyncio
import functools
import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from chaos.mqtt_stream import Acknowledgement, Packet, Publish, Stream

CHUNK = 65536


class Recorder:
    """Writes the record; what it has written is in the file at once."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, connection: int, what: str, **more: Any) -> None:
        event = {"at": time.monotonic(), "connection": connection, "what": what, **more}
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def from_daemon(self, connection: int, packet: Packet) -> None:
        if isinstance(packet, Publish):
            head = {"topic": packet.topic, "packet": packet.packet, "qos": packet.qos, "again": packet.again}
            self.write(connection, "publish", **head, retain=packet.retain, **_decision(packet))

    def from_broker(self, connection: int, packet: Packet) -> None:
        if isinstance(packet, Acknowledgement):
            self.write(connection, "ack", packet=packet.packet, accepted=packet.accepted)


def _decision(packet: Publish) -> dict[str, Any]:
    if not packet.topic.endswith("/defects"):
        return {}
    message = json.loads(packet.payload)
    return {key: message[key] for key in ("id", "line", "part", "late")}


class Proxy:
    """All connections."""

    def __init__(self, broker_port: int, recorder: Recorder, delay_s: float) -> None:
        self._broker_port = broker_port
        self._recorder = recorder
        self._delay_s = delay_s
        self._count = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            writer.transport.abort()
            return
        self._count += 1
        number = self._count
        self._recorder.write(number, "open")
        ends = {writer, broker_writer}
        self._open |= ends
        note_there = functools.partial(self._recorder.from_daemon, number)
        note_back = functools.partial(self._recorder.from_broker, number)
        there = asyncio.create_task(self._pass_on(reader, broker_writer, note_there))
        back = asyncio.create_task(self._pass_on(broker_reader, writer, note_back))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.close()
        await asyncio.wait([there, back])
        self._open -= ends
        self._recorder.write(number, "close")

    def cut(self) -> None:
        for end in self._open:
            end.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[Packet], None]
    ) -> None:
        stream = Stream()
        try:
            while data := await reader.read(CHUNK):
                for packet in stream.feed(data):
                    note(packet)
                await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # the other side has closed: the caller does the same on this one


async def _serve(listener: socket.socket, broker_port: int, record: Path, delay_s: float) -> None:
    with record.open("w", encoding="utf-8") as file:
        recorder = Recorder(file)
        proxy = Proxy(broker_port, recorder, delay_s)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, proxy.cut)
        ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        server = await asyncio.start_server(proxy.connected, sock=listener)
        recorder.write(0, "ready")
        await ended.wait()
        server.close()


if __name__ == "__main__":
    listen, to, path, delay_ms = sys.argv[1:]
    asyncio.run(_serve(socket.socket(fileno=int(listen)), int(to), Path(path), float(delay_ms) / 1000))
