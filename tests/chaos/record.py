"""What the proxy wrote down, read."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Sent:
    """The daemon sent this decision, whether or not the broker got it."""

    connection: int
    id: str
    line: str
    part: int
    late: bool


@dataclass
class Record:
    """One run of the proxy."""

    events: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.opened: dict[int, float] = {}
        """Connection to when it came about."""
        self.sent: list[Sent] = []
        self.acknowledged: dict[str, set[int]] = defaultdict(set)
        """`id` to the connections on which the broker has accepted it."""
        self.most_in_flight = 0
        """The most QoS 1 messages, of every kind, that were unacknowledged on a connection at a time."""
        in_flight: dict[int, dict[int, str | None]] = defaultdict(dict)
        for event in self.events:
            number = event["connection"]
            here = in_flight[number]
            if event["what"] == "open":
                self.opened[number] = event["at"]
            elif event["what"] == "publish":
                if event["qos"]:
                    here[event["packet"]] = event.get("id")
                    self.most_in_flight = max(self.most_in_flight, len(here))
                if "id" in event:
                    decision = (event[name] for name in ("id", "line", "part", "late"))
                    self.sent.append(Sent(number, *decision))
            elif event["what"] == "ack":
                message_id = here.pop(event["packet"], None)
                if message_id is not None and event["accepted"]:
                    self.acknowledged[message_id].add(number)

    def topics(self, connection: int) -> list[str]:
        """What was sent on a connection, in order, by topic."""
        return [e["topic"] for e in self.events if e["what"] == "publish" and e["connection"] == connection]


class Proxy:
    """The process, seen from outside."""

    def __init__(self, port: int, path: Path, process: "subprocess.Popen[bytes]") -> None:
        self.port = port
        self._path = path
        self._process = process
        self._looked_up_to = 0

    def has_new_connection(self) -> bool:
        """Whether the daemon has connected since this was asked last. For one thread."""
        with self._path.open("rb") as file:
            file.seek(self._looked_up_to)
            new = file.read()
        self._looked_up_to += len(new)
        return b'"what": "open"' in new

    def cut(self) -> None:
        """Break every connection."""
        self._process.send_signal(signal.SIGUSR1)

    def record(self) -> Record:
        """What was written so far."""
        whole = self._path.read_text(encoding="utf-8").rpartition("\n")[0]
        return Record([json.loads(line) for line in whole.splitlines()])


@contextmanager
def proxy_before(broker_port: int, folder: Path, delay_ms: float) -> Iterator[Proxy]:
    """A proxy before the broker on `broker_port`, which need not be there yet."""
    path = folder / "record.jsonl"
    # The socket is made here and inherited: the daemon may connect at once, and nobody else takes the port.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        arguments = [str(argument) for argument in (listener.fileno(), broker_port, path, delay_ms)]
        command = [sys.executable, "-m", "chaos.proxy", *arguments]
        process = subprocess.Popen(command, cwd=TESTS, pass_fds=[listener.fileno()])
    deadline = time.monotonic() + 30
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, "the proxy did not start"
        assert time.monotonic() < deadline, "the proxy does not start"
        time.sleep(0.02)
    try:
        yield Proxy(port, path, process)
    finally:
        process.terminate()
        assert process.wait(10) == 0, "the proxy failed: what it wrote says nothing"
