"""How long `emit` takes, how many decisions per second reach a local mosquitto, and what CPU time each one costs.

By hand: `python tests/benchmarks/bench_outbox.py`. It needs gcc and mosquitto. The disk is the one under the
temporary directory (TMPDIR).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from conftest import Mosquitto, a_free_port  # noqa: E402  # needs the path
from delivery import MODEL, TOPIC, decision, deliver  # noqa: E402  # needs the path
from harness import show_figures  # noqa: E402  # needs the path
from slow_disk import slow_fsync  # noqa: E402  # needs the path

QUEUE = 1000
SPEND_RUNS, SPEND_COUNT, SPEND_PACE = 5, 1500, 300.0


def time_emits(path: Path, port: int, count: int, per_second: float) -> dict[str, float]:
    """Milliseconds that `emit` took, called at a steady pace."""
    delivery = deliver(path, port, max_bytes=256 * 1024 * 1024)
    assert delivery.connection.wait_for_the_first(10)
    took = []
    begin = time.perf_counter()
    for number in range(count):
        time.sleep(max(0.0, begin + number / per_second - time.perf_counter()))
        made = decision()
        before = time.perf_counter_ns()
        delivery.publisher.emit(made, TOPIC, MODEL)
        took.append((time.perf_counter_ns() - before) / 1e6)
    assert delivery.delivered()
    assert delivery.publisher.stop([], 10) == 0
    p50, p99 = np.percentile(took, (50, 99))
    return {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "max_ms": round(max(took), 3)}


def sustain(path: Path, broker: Mosquitto, count: int) -> dict[str, float]:
    """Decisions per second from the first `emit` to the last one received, in order, by an independent subscriber."""
    command = [sys.executable, __file__, "--receive", str(count), "--port", str(broker.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "ready\n"
        delivery = deliver(path, broker.port, max_bytes=256 * 1024 * 1024)
        assert delivery.connection.wait_for_the_first(10)
        begin = time.perf_counter()
        cpu = time.process_time()
        for _ in range(count // 100):
            while delivery.publisher.backlog > QUEUE:
                time.sleep(0.001)
            delivery.emit(100)
        result = receiver.stdout.read()
        seconds = time.perf_counter() - begin
        cpu = time.process_time() - cpu
    assert result == "in order\n", result
    assert delivery.publisher.evicted == {}
    delivery.publisher.stop([], 10)
    return {"decisions": count, "per_second": round(count / seconds), "cpu_us_per_decision": round(cpu / count * 1e6)}


def cpu_by_thread() -> dict[str, float]:
    """CPU seconds so far of the threads that `Publisher` and `MqttConnection` own."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.name in ("publish", "mqtt") and thread.ident is not None
    }


def spend(path: Path, port: int, count: int, per_second: float | None) -> dict[str, float]:
    """CPU milliseconds per decision, from `emit` to its acknowledgement; what keeps the pace is not counted.

    Args:
        path: of the outbox.
        port: of the broker.
        count: how many decisions.
        per_second: their pace; None: as many as go through.
    """
    delivery = deliver(path, port, max_bytes=256 * 1024 * 1024)
    assert delivery.connection.wait_for_the_first(10)
    emitting_s = 0.0
    before, begin = cpu_by_thread(), time.perf_counter()
    for number in range(count):
        if per_second is not None:
            time.sleep(max(0.0, begin + number / per_second - time.perf_counter()))
        while delivery.publisher.backlog > QUEUE:
            time.sleep(0.001)
        made = decision()
        since = time.thread_time()
        delivery.publisher.emit(made, TOPIC, MODEL)
        emitting_s += time.thread_time() - since
    assert delivery.delivered()
    after = cpu_by_thread()
    delivery.publisher.stop([], 10)
    took = {"emit": emitting_s, **{name: after[name] - before[name] for name in sorted(after)}}
    took["sum"] = sum(took.values())
    return {f"{name}_ms": seconds / count * 1e3 for name, seconds in took.items()}


def spend_often(folder: Path, port: int, count: int, per_second: float | None) -> dict[str, float]:
    """Medians of some runs."""
    runs = [spend(folder / f"{per_second}-{number}.db", port, count, per_second) for number in range(SPEND_RUNS)]
    return {key: round(median(run[key] for run in runs), 4) for key in runs[0]}


def receive(count: int, port: int) -> None:
    """The other process: wait for all of them, and say whether they came in order."""
    parts: list[int] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
    client.on_subscribe = lambda *_: print("ready", flush=True)

    def received(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        parts.append(json.loads(message.payload)["part"])
        if len(parts) == count:
            client.disconnect()

    client.on_message = received
    client.connect("127.0.0.1", port)
    client.loop_forever()
    print("in order" if parts == list(range(1, count + 1)) else "not in order", flush=True)


def measure(seconds: float, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-outbox-") as name:
        folder = Path(name)
        broker = Mosquitto(a_free_port(), folder)
        broker.configure("allow_anonymous true", "max_queued_messages 0")
        broker.start()
        try:
            emits = int(seconds * 100)
            results: dict[str, Any] = {"emit": time_emits(folder / "emit.db", broker.port, emits, 100)}
            command = [sys.executable, __file__, "--emits", str(emits), "--port", str(broker.port)]
            slow = subprocess.run(
                [*command, "--folder", name],
                env={**os.environ, "LD_PRELOAD": str(slow_fsync(folder))},
                check=True,
                capture_output=True,
                text=True,
            )
            results["emit, 200 ms fsync"] = json.loads(slow.stdout)
            results["sustained"] = sustain(folder / "sustained.db", broker, count)
            results["CPU at 300/s"] = spend_often(folder, broker.port, SPEND_COUNT, SPEND_PACE)
            results["CPU at full speed"] = spend_often(folder, broker.port, count // 4, None)
        finally:
            broker.stop()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--seconds", type=float, default=10, help="how long `emit` is timed at 100 per second")
    parser.add_argument("--count", type=int, default=20_000, help="decisions to sustain")
    for name in ("--emits", "--receive", "--port"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        receive(options.receive, options.port)
    elif options.emits:
        print(json.dumps(time_emits(options.folder / "slow.db", options.port, options.emits, 100)))
    else:
        results = measure(options.seconds, options.count)
        show_figures(results, as_json=options.json)


if __name__ == "__main__":
    main()
