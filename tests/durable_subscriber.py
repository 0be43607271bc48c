"""Who receives every decision, whenever it asks: the broker on a booted machine keeps its session."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from booted import Machine
from schemas import validator

Decision = dict[str, Any]
KEEP_ALL = "max_queued_messages 0\n"
"""For mosquitto, which would keep a thousand."""
WAIT_S = 120.0
"""A daemon tries a broker that is away every 20 to 40 s."""


def keep_everything(machine: Machine) -> None:
    """Configure mosquitto, before it is started (again)."""
    Path(machine.root / "etc/mosquitto/conf.d/keep.conf").write_text(KEEP_ALL)


class DurableSubscriber:
    """Subscribes to the decisions of all lines with QoS 1.

    Args:
        machine: with a mosquitto that runs.
        name: of its session.
    """

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._command = ("mosquitto_sub", "-h", "127.0.0.1", "-c", "-i", name, "-q", "1", "-t", "factory/+/defects")
        self._received: dict[str, Decision] = {}
        machine.run(*self._command, "-E")

    def take(self, seconds: int = 1) -> None:
        """What has come, and comes within some seconds."""
        # A broker that has just been started may not listen yet: then nothing has come.
        done = self._machine.tries(*self._command, "-W", str(seconds))
        for text in done.stdout.splitlines():
            decision = json.loads(text)
            validator("decision").validate(decision)
            self._received.setdefault(decision["id"], decision)

    def of(self, line: str) -> list[Decision]:
        """What was taken of one line, each once, in the order of `part`."""
        return sorted((d for d in self._received.values() if d["line"] == line), key=lambda d: int(d["part"]))

    def wait_for(self, line: str, what: Callable[[list[Decision]], bool]) -> list[Decision]:
        """The decisions of a line, as soon as they are as wanted."""
        deadline = time.monotonic() + WAIT_S
        while not what(self.of(line)):
            assert time.monotonic() < deadline, f"{len(self.of(line))} decisions, {self.of(line)[-1:]}"
            self.take()
        return self.of(line)

    def wait_for_the_backlog(self, line: str) -> list[Decision]:
        """As `wait_for`: what waited for the broker has come, and after it something that is new."""
        return self.wait_for(line, lambda now: any(d["late"] for d in now) and not now[-1]["late"])
