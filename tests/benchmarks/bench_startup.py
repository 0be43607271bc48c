"""From `edgecls run` to READY and to the first message on a mosquitto beside it, and how much memory the daemon takes.

Run: python tests/benchmarks/bench_startup.py [--model DIR] [--json]

The daemon is a process of its own, its source a video file, a message per frame. It is started once before, so that
the files are warm. With two and four lines on the same model the peak memory tells what a further line takes.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
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

Figures = dict[str, float]
FRAMES = 50
WAIT_S = 60


def write_clip(path: Path) -> None:
    """Noise that moves, 640 by 480."""
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (640, 480))
    for number in range(FRAMES):
        writer.write(np.roll(noise, 4 * number, axis=1))
    writer.release()


def write_config(path: Path, port: int, model: Path, lines: int) -> None:
    source = {"video": str(path.with_name("clip.mp4")), "pace": "asap", "loop": True}
    settings = {
        "node": "bench",
        "mqtt": {"host": "127.0.0.1", "port": port},
        "outbox": {"path": str(path.with_suffix(".db"))},
        "model": str(model),
        "engine": {"backend": "onnxruntime"},
        "lines": [
            {
                "name": f"line{number}",
                "topic": f"bench/line{number}",
                "source": source,
                "decide": {"per": "frame"},
                "publish": "all",
            }
            for number in range(lines)
        ],
    }
    path.write_text(json.dumps(settings))


class FirstMessage:
    """A subscriber that notes when the first decision of a run came."""

    def __init__(self, port: int) -> None:
        self.came = threading.Event()
        self.at = 0.0
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("bench/+/defects")
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._received
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(10)

    def _received(self, *_: Any) -> None:
        if not self.came.is_set():
            self.at = time.perf_counter()
            self.came.set()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def start_once(config: Path, port: int, seconds: float) -> Figures:
    """Start it, let it work for `seconds` after the first message, and stop it."""
    first = FirstMessage(port)
    address = str(config.with_suffix(".notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(address)
        notified.settimeout(WAIT_S)
        environment = {**os.environ, "NOTIFY_SOCKET": address}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "run", "--config", str(config)],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in notified.recv(4096):
                pass
            ready = time.perf_counter() - begin
            assert first.came.wait(WAIT_S), "no message came"
            time.sleep(seconds)
            return {"ready_s": ready, "first_message_s": first.at - begin, "peak_mib": peak_mib(process.pid)}
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)
            first.close()
            Path(address).unlink()


def measure(model: Path, times: int) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as name:
        folder = Path(name)
        broker = Mosquitto(a_free_port(), folder)
        broker.configure("allow_anonymous true")
        broker.start()
        write_clip(folder / "clip.mp4")
        results = {}
        try:
            for lines, count in ((1, times), (2, 3), (4, 3)):
                config = folder / f"lines{lines}.yaml"
                write_config(config, broker.port, model, lines)
                start_once(config, broker.port, 0)
                runs = [start_once(config, broker.port, 1) for _ in range(count)]
                results[f"{lines} line{'s' * (lines > 1)}"] = {
                    key: round(median(run[key] for run in runs), 3 if key.endswith("_s") else 1) for key in runs[0]
                }
        finally:
            broker.stop()
    one = results["1 line"]["peak_mib"]
    for lines in (2, 4):
        figures = results[f"{lines} lines"]
        figures["mib_per_further_line"] = round((figures["peak_mib"] - one) / (lines - 1), 1)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/surface-demo", metavar="DIR", help="the bundle")
    parser.add_argument("--times", type=int, default=5, help="starts of one line (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    results = measure(options.model.resolve(), options.times)
    show_figures(results, as_json=options.json)


if __name__ == "__main__":
    main()
