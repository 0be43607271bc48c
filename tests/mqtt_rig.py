"""Connections, and publishers with an outbox behind them, under test."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from delivery import decision

from edge.clock import SystemClock
from service.messages import ModelInfo
from service.mqtt import MqttConnection, Will
from service.outbox import Outbox
from service.publisher import IN_FLIGHT, Publisher
from service.sections import MqttSection

MODEL = ModelInfo("test", "1.0.0", "int8")
DEFECTS = "factory/line1/defects"


def until(condition: Callable[[], object], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():  # never once more than needed: some conditions take what they look at
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def told(caplog: pytest.LogCaptureFixture, part: str, timeout_s: float = 20) -> bool:
    """Whether the log says it, in one message, within that time."""
    return until(lambda: any(part in text for text in caplog.messages), timeout_s)


def acknowledged(connection: MqttConnection, handles: set[int | None], timeout_s: float = 20) -> bool:
    """Whether the broker accepts all of them."""
    left = set(handles)

    def look() -> bool:
        left.difference_update(connection.take_acknowledged()[0])
        return not left

    return until(look, timeout_s)


class Connect(Protocol):
    def __call__(self, port: int, *, start: bool = True, **more: Any) -> MqttConnection: ...


class Connections:
    """Makes connections, and ends them."""

    def __init__(self) -> None:
        self._made: list[MqttConnection] = []

    def make(self, port: int, *, start: bool = True, **more: Any) -> MqttConnection:
        own = {key: more.pop(key) for key in ("keepalive_s", "silence_s") if key in more}
        settings = MqttSection(port=port, **more)
        will = Will("edgecls/test/status", b"{}")
        connection = MqttConnection(settings, "edgecls-test", will, 20, lambda: None, **own)
        self._made.append(connection)
        if start:
            connection.start()
        return connection

    def stop(self) -> None:
        for connection in self._made:
            connection.stop()


class Device:
    """An outbox, a publisher and a connection as the daemon has them."""

    def __init__(self, folder: Path, port: int, **more: Any) -> None:
        self._outbox = Outbox(folder / "outbox.db", 10_000_000)
        self._publisher = Publisher("cell-7", self._outbox, SystemClock(), ["line1"])
        settings = MqttSection(port=port)
        self.connection = MqttConnection(
            settings, "edgecls-cell-7", Will("w", b"{}"), IN_FLIGHT, self._publisher.wake, **more
        )
        self._publisher.start(self.connection, list)

    @property
    def backlog(self) -> int:
        return self._publisher.backlog

    def emit(self, count: int) -> None:
        for _ in range(count):
            self._publisher.emit(decision(), DEFECTS, MODEL)

    def stop(self, timeout_s: float = 10) -> int:
        return self._publisher.stop([], timeout_s)


def parts(decisions: list[dict[str, Any]]) -> list[int]:
    """The numbers of the decisions that somebody received, repeats dropped as subscribers do."""
    found: dict[str, int] = {}
    for message in decisions:
        found.setdefault(message["id"], message["part"])
    return list(found.values())


def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing unforeseen has happened."""
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
