"""A daemon with its status page, and somebody who asks it things over plain sockets and over HTTP."""

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import a_free_port
from rig import Message, finish, start, write_config

Headers = dict[str, str]


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Page:
    """The page of one daemon."""

    def __init__(self, port: int, process: "subprocess.Popen[str]") -> None:
        self.port = port
        self.process = process
        self.log = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, headers: Headers | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def say(self, data: bytes, timeout_s: float = 30) -> bytes:
        """What is answered to these bytes until the connection ends."""
        with self.connect(timeout_s) as connection:
            connection.sendall(data)
            return everything(connection)

    def connect(self, timeout_s: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def events(self, count: int) -> list[Message]:
        """So many documents of the stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/events")
            response = connection.getresponse()
            assert response.status == 200, response.status
            found: list[Message] = []
            while len(found) < count:
                line = response.readline()
                assert line, "the stream has ended"
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
            return found
        finally:
            connection.close()

    def wait_for(self, path: str, status: int = 200, timeout_s: float = 60) -> Answer:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                answer = self.ask(path)
            except OSError:
                answer = None
            if answer is not None and answer.status == status:
                return answer
            assert time.monotonic() < deadline, f"{path}: {answer and (answer.status, answer.text)}"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)


def everything(connection: socket.socket) -> bytes:
    """What comes until the connection ends, whichever way."""
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionError:
        pass
    return found


@contextmanager
def page(folder: Path, broker: int, lines: list[Message], ends_with: int = 0, **more: Any) -> Iterator[Page]:
    """A daemon that shows these lines; at the end it is stopped, and `log` has what it said.

    Its exit status is `ends_with`, 1 when a line has failed.
    """
    port = a_free_port()
    section = {"listen": f"127.0.0.1:{port}", **more.pop("http", {})}
    process = start(write_config(folder, broker, lines, http=section, **more))
    shown = Page(port, process)
    try:
        shown.wait_for("/healthz", 401 if "password_file" in section else 200)
        yield shown
    finally:
        process.terminate()
        status, shown.log = finish(process)
    assert status == ends_with, shown.log
