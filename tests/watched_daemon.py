"""A whole daemon whose cameras are killed: what it says of its lines and when, and what it takes meanwhile."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import paho.mqtt.client as paho
from live import children_of
from number_reader import ROI, number_read, write_number_reader
from rig import Message, Subscriber, start, write_config


class Witness(Subscriber):
    """Notes when each message came (monotonic), too."""

    def __init__(self, port: int) -> None:
        self.came: list[tuple[float, str, Message]] = []
        super().__init__(port)

    def _received(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        now = time.monotonic()
        super()._received(client, data, message)
        with self._more:
            topic, _, content = self.messages[-1]
            self.came.append((now, topic, content))
            self._more.notify_all()

    def first(
        self, what: Callable[[float, str, Message], bool], begin: int, timeout_s: float = 60
    ) -> tuple[float, int]:
        """When the first such message came, from the one with that number on, and its number."""
        deadline = time.monotonic() + timeout_s
        number = begin
        while True:
            with self._more:
                while number >= len(self.came):
                    assert self._more.wait(deadline - time.monotonic()), [c[1:] for c in self.came[-3:]]
                found = self.came[number]
            if what(*found):
                return found[0], number
            number += 1


def line(name: str, source: Message) -> Message:
    """A line that says of every frame which one it was."""
    shown = {"per": "frame"}
    return {"name": name, "topic": f"factory/{name}", "source": source, "decide": shown, "publish": "all", "roi": ROI}


class WatchedDaemon:
    """Runs until `close`."""

    def __init__(self, folder: Path, port: int, lines: list[Message]) -> None:
        model = str(write_number_reader(folder / "number-reader"))
        self.witness = Witness(port)
        engine = {"backend": "onnxruntime", "precision": "fp32", "threads": 1}
        self.process = start(write_config(folder, port, lines, model=model, engine=engine))
        self._log: list[str] = []
        assert self.process.stderr is not None
        self._reading = threading.Thread(target=self._log.extend, args=(self.process.stderr,), daemon=True)
        self._reading.start()

    def inspects(self, name: str, count: int = 5) -> None:
        """Wait until it has inspected so many frames more."""
        begin = len(self.witness.came)
        for _ in range(count):
            _, begin = self.witness.first(lambda _, topic, __: topic == f"factory/{name}/defects", begin)
            begin += 1

    def loses(self, name: str, end: Callable[[], float]) -> float:
        """Seconds from the end of a source until the line says that it waits."""
        begin = len(self.witness.came)
        gone = end()
        told, _ = self.witness.first(
            lambda _, topic, state: topic == f"factory/{name}/state" and state["state"] == "waiting", begin
        )
        return told - gone

    def finds(self, name: str, wall_s: float, count: int = 3) -> float:
        """When (monotonic) the first decision came on a frame that was grabbed after `wall_s` (`time.time`)."""
        topic_ = f"factory/{name}/defects"

        def is_new(_: float, topic: str, decision: Message) -> bool:
            return topic == topic_ and grabbed_at(decision) > wall_s

        when, begin = self.witness.first(is_new, max(0, len(self.witness.came) - 50))
        for _ in range(count - 1):
            _, begin = self.witness.first(is_new, begin + 1)
        return when

    def capture_of(self, name: str) -> int:
        """The capture process of a line."""
        (found,) = [
            pid
            for pid in children_of(self.process.pid)
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(f"edgecls capture {name}\0".encode())
        ]
        return found

    def takes(self, name: str) -> tuple[int, int, int, int]:
        """Open files and memory (KiB, Pss) of the daemon, and the same of a line's capture process."""
        both = (self.process.pid, self.capture_of(name))
        files, memory = ([of(pid) for pid in both] for of in (open_files_of, memory_of))
        return files[0], memory[0], files[1], memory[1]

    def decisions(self, name: str) -> list[Message]:
        return self.witness.on(f"factory/{name}/defects")

    def close(self) -> str:
        """End it; its log."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._reading.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.witness.close()
        log = "".join(self._log)
        assert "Traceback" not in log, log
        return log


def grabbed_at(decision: Message) -> float:
    """UTC, seconds."""
    return datetime.fromisoformat(decision["frame"]["captured_at"].replace("Z", "+00:00")).timestamp()


def no_frame_twice(decisions: list[Message]) -> None:
    """Neither by the daemon's own number nor by that in the picture."""
    for numbers in ([d["frame"]["seq"] for d in decisions], [number_read(d) for d in decisions]):
        wrong = [(one, other) for one, other in pairwise(numbers) if one >= other]
        assert not wrong, wrong[:5]


def figures(name: str, seconds: list[float], wanted_s: float) -> str:
    """For people: the middle one, the longest, and how many were within what is wanted."""
    within = sum(second <= wanted_s for second in seconds)
    return (
        f"{name}: median {median(seconds):.2f} s, longest {max(seconds):.2f} s, "
        f"{within} of {len(seconds)} within {wanted_s:g} s"
    )


def open_files_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_of(pid: int) -> int:
    """Its part of what it has in memory (Pss), KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(text.split()[1]) for text in lines if text.startswith("Pss:"))
