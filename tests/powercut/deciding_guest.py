"""What runs in the virtual machine: a real outbox and a real publisher, and on the serial line what they have done.

Each report is one line of JSON, and it has left the machine when the program goes on: what was stored is reported when
`Outbox.update` has returned, what was acknowledged before the publisher hears of it.
"""

import hashlib
import json
import os
import random
import select
import termios
import time
import tty
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Any, cast

from edge.classification import Classification
from edge.clock import SystemClock
from edge.decision import Decision, Evidence, Ruling
from service.messages import ModelInfo
from service.mqtt import MqttConnection
from service.outbox import Message, Outbox
from service.publisher import IN_FLIGHT, Publisher

LINES = ("line1", "line2")
MODEL = ModelInfo("test", "1.0.0", "int8")
MANY = 2000
"""So many unacknowledged decisions, and no more come: memory must not evict, or parts would be missing."""
RESEED = 0x5207
"""RNDRESEEDCRNG of <linux/random.h>."""

Report = Callable[[dict[str, Any]], None]


def content(message: Message) -> list[Any]:
    digest = hashlib.sha256(repr((message.topic, message.payload, message.decided_at_ns)).encode()).hexdigest()
    return [message.seq, message.line, json.loads(message.payload)["part"], digest[:16]]


class ReportingOutbox(Outbox):
    """Tells what was stored, once it was, and when the file was written: that is a checkpoint of the WAL."""

    def __init__(self, path: Path, max_bytes: int, report: Report) -> None:
        super().__init__(path, max_bytes)
        self._file = path
        self._report = report
        self._written = path.stat().st_mtime_ns

    def update(self, new: Sequence[Message], removed: Collection[int], parts: Mapping[str, int]) -> "Counter[str]":
        evicted = super().update(new, removed, parts)
        news = {"stored": [content(m) for m in new], "removed": sorted(removed), "evicted": sum(evicted.values())}
        before, self._written = self._written, self._file.stat().st_mtime_ns
        self._report(news | ({"checkpoint": True} if self._written != before else {}))
        return evicted


class Broker:
    """In place of a connection: takes what it is given and acknowledges some of it, now and then."""

    connections = 1
    window = IN_FLIGHT

    def __init__(self, chance: random.Random, report: Report, *, connected: bool) -> None:
        self.connected = connected
        self._chance = chance
        self._report = report
        self._handle = 0
        self._taken: dict[int, list[Any]] = {}

    def start(self) -> None:
        pass

    def publish(self, _topic: str, payload: bytes, **_how: Any) -> int:
        message = json.loads(payload)
        self._handle += 1
        self._taken[self._handle] = [message["line"], message["part"]]
        return self._handle

    def take_acknowledged(self) -> tuple[set[int], set[int]]:
        accepted = {handle for handle in self._taken if self._chance.random() < 0.5}
        if accepted:
            self._report({"acknowledged": [self._taken.pop(handle) for handle in sorted(accepted)]})
        return accepted, set()


def decision(line: str, chance: random.Random) -> Decision:
    now_ns = time.time_ns()
    labels = tuple(f"label {n}".ljust(chance.choice((9, 200, 6000))) for n in range(chance.choice((2, 6))))
    scores = Classification(labels, tuple(chance.random() for _ in labels))
    return Decision(line, Ruling("reject", Evidence(scores, 1, now_ns, 320, 240, None, 0.1, 1.0)), now_ns, 1.5)


def decide(folder: Path, report: Report, chance: random.Random) -> None:
    """Open the outbox, say what it holds, then decide until the power is cut."""
    report({"opening": True})
    outbox = ReportingOutbox(folder / "outbox.db", 64 * 1024 * 1024, report)
    report(
        {
            "holds": [content(message) for message in outbox.after(0, 1_000_000)],
            "count": outbox.count,
            "last_seq": outbox.last_seq,
            "last_parts": {line: outbox.last_part(line) for line in LINES},
            "problem": outbox.problem,
            "files": sorted(path.name for path in folder.iterdir()),
        }
    )
    publisher = Publisher("cell-7", outbox, SystemClock(), LINES)
    broker = Broker(chance, report, connected=chance.random() < 0.7)
    publisher.start(cast("MqttConnection", broker), list)
    at_once = chance.choice((2, 10, 40))
    while True:
        if publisher.backlog < MANY:
            for _ in range(chance.randint(1, at_once)):
                line = chance.choice(LINES)
                publisher.emit(decision(line, chance), f"factory/{line}/defects", MODEL)
        time.sleep(chance.uniform(0, 0.1))


def busybox(*command: str) -> None:
    done = os.spawnv(os.P_WAIT, "/guest/busybox", command)  # noqa: S606  # there is no shell
    if done:
        raise SystemExit(f"{' '.join(command)}: exit status {done}")


def wake_up(start: dict[str, Any]) -> None:
    """The machine was asleep, and so were others with the same memory: the time and chance are new, and a disk comes.

    The disk is seen for the first time now, so nothing of it is left in memory from before.
    """
    time.clock_settime(time.CLOCK_REALTIME, start["now_s"])
    with Path("/dev/urandom").open("wb", buffering=0) as entropy:
        entropy.write(bytes.fromhex(start["entropy"]))
        ioctl(entropy, RESEED)
    busybox("insmod", "/guest/virtio_blk.ko")
    while not Path("/dev/vda").exists():
        time.sleep(0.01)
    busybox("mount", "-t", "ext4", "/dev/vda", "/guest/disk")


def main() -> None:
    serial = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(serial)

    def report(news: dict[str, Any]) -> None:
        text = json.dumps(news).encode() + b"\n"
        while text:
            text = text[os.write(serial, text) :]
        termios.tcdrain(serial)

    # What is sent to a machine that is not quite awake gets lost, so it says that it is, until somebody answers.
    report({"ready": True})
    while not select.select([serial], [], [], 0.1)[0]:
        report({"ready": True})
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(serial, 1000)
    start = json.loads(line)
    wake_up(start)
    decide(Path("/guest/disk"), report, random.Random(start["seed"]))


if __name__ == "__main__":
    main()
