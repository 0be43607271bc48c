"""What the daemon takes of one core while next to nothing happens: a line at 5 frames per second.

Run: python tests/benchmarks/bench_idle.py [--model DIR] [--seconds 60] [--json]

The daemon is a process of its own; its source is a clip of 1280x720 at 5 fps, played at its own speed: once with a
message per frame, once with one per part. What the inferences take is measured afterwards in this process, which runs
the same engine at the same pace; the rest is decoding, preprocessing, deciding, the outbox and MQTT.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT)]

from conftest import Mosquitto, a_free_port  # noqa: E402  # needs the path
from harness import show_figures  # noqa: E402  # needs the path

from edge.backends import EngineSettings  # noqa: E402  # needs the path
from edge.bundle import load_bundle  # noqa: E402  # needs the path
from edge.engine import Engine  # noqa: E402  # needs the path

Figures = dict[str, Any]
FPS = 5
SETTLE_S = 5.0
"""After the first message: what the start takes is not counted."""


def write_clip(path: Path) -> None:
    """The conveyor of the demo, larger and at 5 fps; parts pass by."""
    reader = cv2.VideoCapture(str(ROOT / "models/demo/conveyor.mp4"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (1280, 720))
    while (read := reader.read())[0]:
        writer.write(cv2.resize(read[1], (1280, 720)))
    writer.release()


def write_config(path: Path, port: int, model: Path, per: str) -> None:
    source = {"video": str(path.with_name("clip.mp4")), "pace": "realtime", "loop": True}
    line = {"name": "line1", "topic": "bench/line1", "source": source, "decide": {"per": per}, "publish": "all"}
    settings = {
        "node": "bench",
        "mqtt": {"host": "127.0.0.1", "port": port},
        "outbox": {"path": str(path.with_suffix(".db"))},
        "model": str(model),
        "engine": {"backend": "onnxruntime"},
        "lines": [line],
    }
    path.write_text(json.dumps(settings))


def cpu_s(pid: int) -> dict[str, float]:
    """CPU seconds of each thread so far."""
    return {
        task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def switches(pid: int) -> int:
    """How often its threads have been put to sleep so far."""
    return sum(
        int(line.split()[1])
        for task in Path(f"/proc/{pid}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary")
    )


def inferences(message: dict[str, Any]) -> int:
    """How many stand behind a decision."""
    return int(message["seen"]["frames"]) if "seen" in message else 1


def watch(config: Path, port: int, seconds: float) -> tuple[Figures, int]:
    """What a daemon takes, in percent of one core, and how many inferences it made."""
    messages: list[dict[str, Any]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe("bench/line1/defects")
    client.on_message = lambda _client, _data, message: messages.append(json.loads(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    command = [sys.executable, "-m", "service.cli", "run", "--config", str(config)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not messages:
            time.sleep(0.1)
        time.sleep(SETTLE_S)
        told, before, slept, begin = len(messages), cpu_s(process.pid), switches(process.pid), time.monotonic()
        time.sleep(seconds)
        took, after, slept_since = time.monotonic() - begin, cpu_s(process.pid), switches(process.pid) - slept
        made = messages[told:]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        client.disconnect()
        client.loop_stop()
    total = sum(after[task] - before.get(task, 0) for task in after)
    figures = {"total_percent": total / took * 100, "sleeps_per_s": slept_since / took, "messages": len(made)}
    return figures, sum(inferences(message) for message in made)


def inference_s(model: Path, count: int) -> float:
    """CPU seconds of one inference, of all threads, at the pace of the clip: the caches are cold then."""
    slot = Engine(load_bundle(model), EngineSettings(backend="onnxruntime")).slot()
    slot.input[:] = np.random.default_rng(1).integers(0, 255, slot.input.shape, np.uint8)
    slot.infer()
    begin = time.process_time()
    for _ in range(count):
        time.sleep(1 / FPS)
        slot.infer()
    return (time.process_time() - begin) / count


def measure(model: Path, seconds: float) -> dict[str, Figures]:
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as name:
        folder = Path(name)
        write_clip(folder / "clip.mp4")
        broker = Mosquitto(a_free_port(), folder)
        broker.configure("allow_anonymous true")
        broker.start()
        try:
            one = inference_s(model, round(min(seconds, 20) * FPS))
            for per in ("frame", "part"):
                config = folder / f"{per}.yaml"
                write_config(config, broker.port, model, per)
                figures, count = watch(config, broker.port, seconds)
                figures["inference_percent"] = count * one / seconds * 100
                figures["rest_percent"] = figures["total_percent"] - figures["inference_percent"]
                results[f"per: {per}"] = {key: round(value, 2) for key, value in figures.items()}
        finally:
            broker.stop()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/surface-demo", metavar="DIR", help="the bundle")
    parser.add_argument("--seconds", type=float, default=60, help="for each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    results = measure(options.model.resolve(), options.seconds)
    show_figures(results, as_json=options.json)


if __name__ == "__main__":
    main()
