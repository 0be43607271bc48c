"""Delivery while the disk is full, slow, damaged or read-only: nothing stored is lost, and order is kept."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Mosquitto
from delivery import TOPIC, deliver, until
from rig import Subscriber
from slow_disk import fill, slow_fsync

from service.publisher import WAITING_LIMIT


@pytest.fixture(autouse=True)
def _patient(mosquitto: Mosquitto) -> None:
    """The broker keeps what a subscriber is too slow for; by default it drops all above 1000."""
    mosquitto.stop()
    mosquitto.configure("allow_anonymous true", "max_queued_messages 0")
    mosquitto.start()


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    subscriber = Subscriber(mosquitto.port)
    yield subscriber
    subscriber.close()


def parts(subscriber: Subscriber) -> list[int]:
    return [message["part"] for message in subscriber.on(TOPIC)]


def test_a_full_disk_under_a_live_broker(mosquitto: Mosquitto, subscriber: Subscriber, small_disk: Path) -> None:
    """What is decided meanwhile is delivered from memory; afterwards all is as before, without a restart."""
    delivery = deliver(small_disk / "outbox.db", mosquitto.port)
    delivery.emit(100)
    assert delivery.delivered()
    filler = fill(small_disk)
    sent = 100
    while not delivery.publisher.problem:  # until the room that the outbox had made for itself is used up
        delivery.emit(200)
        sent += 200
        assert delivery.delivered()
    assert "database or disk is full" in delivery.publisher.problem
    assert f"free some space in {small_disk}" in delivery.publisher.problem
    delivery.emit(500)
    sent += 500
    assert delivery.delivered()
    assert delivery.publisher.problem
    filler.unlink()
    assert until(lambda: not delivery.publisher.problem)
    delivery.emit(100)
    sent += 100
    assert delivery.delivered()
    subscriber.wait_for(TOPIC, sent)
    assert parts(subscriber) == list(range(1, sent + 1))
    assert delivery.publisher.evicted == {}
    assert len(delivery.troubles) == 2
    assert delivery.publisher.stop([], 5) == 0
    assert deliver_again(small_disk, mosquitto, subscriber) == sent + 1


def deliver_again(disk: Path, mosquitto: Mosquitto, subscriber: Subscriber) -> int:
    """The number of the first decision after a restart."""
    delivery = deliver(disk / "outbox.db", mosquitto.port)
    before = len(subscriber.on(TOPIC))
    delivery.emit()
    subscriber.wait_for(TOPIC, before + 1)
    delivery.publisher.stop([], 5)
    return parts(subscriber)[before]


def test_a_full_disk_while_the_broker_is_away(mosquitto: Mosquitto, subscriber: Subscriber, small_disk: Path) -> None:
    """What was stored comes first, then what memory could hold; what it could not is counted, and a gap in `part`."""
    subscriber.close()
    mosquitto.stop()
    delivery = deliver(small_disk / "outbox.db", mosquitto.port)
    delivery.emit(300)
    assert delivery.stored(300)
    filler = fill(small_disk)
    emitted = 300
    while not delivery.publisher.problem:
        delivery.emit(300)
        emitted += 300
        delivery.stored(emitted)
    stored = delivery.outbox.count
    for _ in range(3 * WAITING_LIMIT // 500):
        delivery.emit(500)
        emitted += 500
    assert until(lambda: delivery.publisher.backlog <= stored + WAITING_LIMIT)
    gone = emitted - delivery.publisher.backlog
    assert 0 < gone == delivery.publisher.evicted["line1"]
    filler.unlink()
    assert until(lambda: not delivery.publisher.problem)
    mosquitto.start()
    listener = Subscriber(mosquitto.port)
    delivery.emit()
    emitted += 1
    listener.wait_for(TOPIC, emitted - gone)
    assert delivery.delivered()
    expected = [*range(1, stored + 1), *range(stored + gone + 1, emitted + 1)]
    assert parts(listener) == expected
    late = [message["late"] for message in listener.on(TOPIC)]
    assert late == sorted(late, reverse=True)
    assert late[0]
    assert delivery.publisher.stop([], 5) == 0
    listener.close()


def test_a_disk_that_is_full_at_the_start(mosquitto: Mosquitto, subscriber: Subscriber, small_disk: Path) -> None:
    filler = fill(small_disk)
    delivery = deliver(small_disk / "outbox.db", mosquitto.port)
    delivery.emit(50)
    assert delivery.delivered()
    assert "disk is full" in delivery.publisher.problem
    filler.unlink()
    assert until(lambda: not delivery.publisher.problem)
    delivery.emit(50)
    assert delivery.delivered()
    subscriber.wait_for(TOPIC, 100)
    assert parts(subscriber) == list(range(1, 101))
    assert delivery.publisher.stop([], 5) == 0
    assert deliver_again(small_disk, mosquitto, subscriber) == 101


def test_what_is_not_stored_at_the_end_is_said(
    mosquitto: Mosquitto, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    fill(small_disk)
    delivery = deliver(small_disk / "outbox.db", mosquitto.port)
    delivery.emit(50)
    assert delivery.publisher.stop([], 0.1) == 0
    assert "50 decisions could not be stored: they are lost" in caplog.text


def test_damage_while_decisions_are_delivered(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    path = tmp_path / "outbox.db"
    delivery = deliver(path, mosquitto.port, max_bytes=50_000_000)
    for count in range(1000, 12001, 1000):  # more than SQLite keeps in memory
        delivery.emit(1000)
        assert delivery.stored(count)
    with path.open("r+b") as file:
        file.seek(100 * 4096)
        file.write(b"\xa5" * 4 * 4096)
    mosquitto.start()
    listener = Subscriber(mosquitto.port)
    delivery.emit(10)
    assert delivery.delivered(timeout_s=120)
    delivery.emit(10)
    assert delivery.delivered()
    assert "was damaged" in caplog.text
    assert until(lambda: parts(listener)[-1:] == [12020], timeout_s=60)
    received = parts(listener)
    assert [a for a, b in itertools.pairwise(received) if a >= b] == []
    assert 11900 < len(received) < 12020
    assert delivery.publisher.stop([], 5) == 0
    listener.close()


EMITTER = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests")
from delivery import deliver
delivery = deliver(Path(sys.argv[1]), int(sys.argv[2]))
for _ in range(300):
    delivery.emit()
    time.sleep(0.005)
assert delivery.delivered() and delivery.publisher.problem == "" and not delivery.publisher.evicted
sys.exit(delivery.publisher.stop([], 20))
"""


def test_a_disk_that_takes_200_ms_for_every_fsync(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path) -> None:
    """How long `emit` takes then: `tests/benchmarks/bench_outbox.py`."""
    emitting = subprocess.run(
        [sys.executable, "-c", EMITTER, str(tmp_path / "outbox.db"), str(mosquitto.port)],
        cwd=ROOT,
        env={"LD_PRELOAD": str(slow_fsync(tmp_path))},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (emitting.returncode, emitting.stderr) == (0, "")
    subscriber.wait_for(TOPIC, 300)
    assert parts(subscriber) == list(range(1, 301))
