"""A daemon, a proxy, a broker and a subscriber, and what befalls them."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import cv2
from chaos.durable import DurableSubscriber, durable_subscriber
from chaos.record import Proxy, proxy_before
from conftest import Mosquitto
from rig import endless_line, finish, start, write_config

LINES = ("line1", "line2")
FPS = 50
DELAY_MS = 10
"""Each way between daemon and broker."""


@dataclass(frozen=True)
class Plan:
    """What is to happen, at random moments. Times in seconds."""

    broker_kills: int
    broker_stops: int
    broker_stops_and_kills: int
    broker_restarts: int
    cuts: int
    daemon_kills: int
    decisions: int
    longest_stop_s: float
    longest_calm_s: float
    """Between two blows to the broker."""
    longest_life_s: float
    """Of the daemon, once it works."""

    @property
    def broker_blows(self) -> int:
        """How often the broker is killed, stopped or restarted."""
        return self.broker_kills + self.broker_stops + self.broker_stops_and_kills + self.broker_restarts

    def blows(self, chance: random.Random) -> list[str]:
        """Everything but the daemon's deaths, shuffled."""
        counts = {
            "kill": self.broker_kills,
            "stop": self.broker_stops,
            "stop and kill": self.broker_stops_and_kills,
            "restart": self.broker_restarts,
            "cut": self.cuts,
        }
        blows = [blow for blow, count in counts.items() for _ in range(count)]
        chance.shuffle(blows)
        return blows


@dataclass(slots=True)
class Life:
    """Of one broker process; times are CLOCK_MONOTONIC in seconds."""

    began: float
    ended: float = float("inf")
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """Of the daemon, and what its outbox held then: the payloads, read."""

    at: float
    stored: list[dict[str, Any]]


@dataclass
class Storm:
    """One run. `broker` does not run yet, and knows the session of `subscriber`."""

    broker: Mosquitto
    folder: Path
    proxy: Proxy
    config: Path
    subscriber: DurableSubscriber
    lives: list[Life] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    left: list[dict[str, Any]] = field(default_factory=list)
    """What the outbox still held after several clean ends of the daemon."""

    def __post_init__(self) -> None:
        self._over = Event()
        self._start_broker()
        self._daemon = start(self.config)

    def rage(self, plan: Plan, seed: int) -> None:
        """Do what the plan says, the broker's mishaps and the daemon's at the same time; then let it rest."""
        with ThreadPoolExecutor(2) as pool:
            jobs = [
                pool.submit(self._trouble_the_broker, plan, random.Random(seed)),
                pool.submit(self._kill_the_daemon, plan, random.Random(seed + 1)),
            ]
            wait(jobs, return_when=FIRST_EXCEPTION)
            self._over.set()  # when one failed, the other is not to go on for minutes
            for job in jobs:
                job.result()
        self.subscriber.wait_for(plan.decisions, 300)
        self._drain()

    def _trouble_the_broker(self, plan: Plan, chance: random.Random) -> None:
        for blow in plan.blows(chance):
            if self._over.wait(chance.uniform(0.1, plan.longest_calm_s)):
                return
            # Mostly short, sometimes long.
            stop_s = 0.5 + (plan.longest_stop_s - 0.5) * chance.random() ** 3
            away_s = chance.choice((0.0, chance.uniform(0, 3)))
            if blow == "cut":
                self.proxy.cut()
            if blow.startswith("stop"):
                self._process.send_signal(signal.SIGSTOP)
                time.sleep(stop_s)
            if blow == "stop":
                self._process.send_signal(signal.SIGCONT)
            if blow == "restart":
                self._stop_broker()
            if blow.endswith("kill"):
                self._kill_broker()
            if self.broker.process is None:
                time.sleep(away_s)
                self._start_broker()
            self.done[f"broker {blow}" if blow != "cut" else "connections cut"] += 1

    def _kill_the_daemon(self, plan: Plan, chance: random.Random) -> None:
        for _ in range(plan.daemon_kills):
            life_s = chance.uniform(0, plan.longest_life_s)
            moment = chance.choice(("whenever", "at work", "at work", "reconnected", "reconnected"))
            if moment == "at work":
                self._wait_until(self._something_new())
            elif moment == "reconnected":  # what was in flight is just being sent again
                self.proxy.has_new_connection()
                self._wait_until(self.proxy.has_new_connection)
                life_s = chance.uniform(0, 0.1)
            if self._over.wait(life_s):
                return
            self._daemon.kill()
            finish(self._daemon)
            self.deaths.append(Death(time.monotonic(), self.stored()))
            self._daemon = start(self.config)
            self.done["daemon kill"] += 1

    def _something_new(self) -> Callable[[], bool]:
        before = self.subscriber.count()
        return lambda: self.subscriber.count() > before

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """For a while only: the broker may be away, or done with its troubles."""
        for _ in range(500):
            if condition() or self._over.wait(0.02):
                return

    @property
    def _process(self) -> "subprocess.Popen[bytes]":
        assert self.broker.process is not None
        return self.broker.process

    def _start_broker(self) -> None:
        self.lives.append(Life(time.monotonic()))
        self.broker.start()

    def _stop_broker(self) -> None:
        self.broker.stop()
        self.lives[-1].ended = time.monotonic()

    def _kill_broker(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self.broker.process = None
        self.lives[-1].ended = time.monotonic()
        self.lives[-1].killed = True

    def _drain(self) -> None:
        """End the daemon cleanly, again if what was left took longer than it has time for."""
        for _ in range(3):
            # Before it works it has no handlers for signals.
            self.subscriber.wait_for(self.subscriber.count() + 1, 60)
            self._daemon.send_signal(signal.SIGTERM)
            status, log = finish(self._daemon)
            assert status == 0, f"exit status {status} after SIGTERM: {log}"
            self.left = self.stored()
            if not self.left:
                return
            self._daemon = start(self.config)

    def stored(self) -> list[dict[str, Any]]:
        """What the outbox holds. Only to be asked while no daemon runs; a copy is read, the file is left as it is."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in self.folder.glob("outbox.db*"):
            if not file.name.endswith("-shm"):  # an index of -wal, made anew when it is missing
                shutil.copy(file, copy)
        database = sqlite3.connect(copy / "outbox.db")
        try:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'message'").fetchone():
                return []  # the daemon died before it had made its outbox
            return [json.loads(payload) for (payload,) in database.execute("SELECT payload FROM message")]
        finally:
            database.close()

    def end(self) -> None:
        """However it went, leave nothing running."""
        if self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.communicate()
        if self.broker.process is not None:
            self.broker.process.send_signal(signal.SIGCONT)
        self.subscriber.close()


def fast_clip(clip: Path, path: Path) -> Path:
    """A few seconds of a clip, faster: how many decisions a line makes in a second is this video's business."""
    source = cv2.VideoCapture(str(clip))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (160, 120))
    for _ in range(300):
        good, image = source.read()
        assert good
        writer.write(cv2.resize(image, (160, 120)))
    source.release()
    writer.release()
    return path


@contextmanager
def storm(broker: Mosquitto, folder: Path, clip: Path) -> Iterator[Storm]:
    """Everything up and running: two lines, each with `FPS` decisions per second."""
    video = fast_clip(clip, folder / "fast.avi")
    lines = [endless_line(video, name) for name in LINES]
    for line in lines:
        line["source"]["pace"] = "realtime"
    with proxy_before(broker.port, folder, DELAY_MS) as proxy:
        more = {"engine": {"threads": 1}, "outbox": {"path": "outbox.db", "max_mib": 1024}}
        config = write_config(folder, proxy.port, lines, **more)
        run = Storm(broker, folder, proxy, config, durable_subscriber(broker))
        try:
            yield run
        finally:
            run.end()
