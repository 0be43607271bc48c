"""The daemon on a video of 1280x720 against the work that it cannot do without.

`python tests/benchmarks/bench_video.py --models DIR [--video FILE]`: `edgecls run` in a process of its own, a local
mosquitto and a subscriber that only counts, `per: frame`, `publish: all`. The bound is cores / (CPU seconds per frame
of decoding alone + of the engine alone), both measured in the same rounds. It needs mosquitto.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import paho.mqtt.client as paho
from harness import Table, asked, broker, bundle, h264_clip, in_turn, main, ratio
from paho.mqtt.enums import CallbackAPIVersion
from rig import start, write_config

from edge.engine import Engine
from service.bench.measure import engine_turn

MODELS = ("resnet18", "mobilenetv3-small")
WANTED = 0.9
SETTLE_S = 1.0
"""From the first decision until it counts: by then the connection is up and every buffer is made."""


class Counter:
    """A subscriber that counts decisions, as cheaply as Python can."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self.more = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("factory/line1/defects", qos=0)
        self._client.on_message = self._received
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _received(self, *_: object) -> None:
        self.count += 1
        self.more.set()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def decoding_turn(clip: Path, seconds: float) -> float:
    """CPU seconds per frame of decoding alone, into one buffer."""
    image = None
    capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    for _ in range(10):
        capture.read()
    frames, cpu, end = 0, time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        good, image = capture.read(image)
        if good:
            frames += 1
        else:
            capture.release()
            capture = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    used = time.process_time() - cpu
    capture.release()
    return used / frames


def daemon_turn(config: Path, port: int, seconds: float) -> float:
    """Decisions per second that a subscriber receives."""
    counter = Counter(port)
    process = start(config)
    try:
        if not counter.more.wait(60):
            raise TimeoutError("the daemon sent no decision within 60 s")
        time.sleep(SETTLE_S)
        before, begin = counter.count, time.perf_counter()
        time.sleep(seconds)
        return (counter.count - before) / (time.perf_counter() - begin)
    finally:
        process.terminate()
        process.communicate(timeout=60)
        counter.close()


def measure(args: argparse.Namespace) -> list[Table]:
    cores = len(os.sched_getaffinity(0))
    table = Table(
        "The daemon on a video, every frame decided and delivered, INT8",
        ("model", "backend", "daemon fps", "decoding CPU ms", "engine CPU ms", "bound fps", "share", "wanted"),
    )
    with tempfile.TemporaryDirectory(prefix="bench-video-") as name:
        folder = Path(name)
        models = {model: bundle(args.models, model) for model in MODELS}
        clip, description = h264_clip(args.video, folder, models[MODELS[0]])
        table.notes.append(f"Video: {description}. Bound: {cores} cores / (decoding + engine), in CPU time.")
        with broker(folder) as port:
            turns: dict[str, Callable[[], float]] = {"decoding": lambda: decoding_turn(clip, args.seconds)}
            for model, loaded in models.items():
                run = Engine(loaded, asked(args.backend, "int8")).slot().infer
                config = _config(folder / model, port, loaded.path, clip, args.backend)
                turns[f"{model} engine"] = lambda run=run: _cpu_seconds(run, args.seconds)  # type: ignore[misc]  # mypy infers no defaults of lambdas
                turns[f"{model} daemon"] = lambda config=config: daemon_turn(config, port, 4 * args.seconds)  # type: ignore[misc]  # mypy infers no defaults of lambdas
            found = in_turn(turns, args.rounds)
    for model in MODELS:
        daemon = found[f"{model} daemon"]
        alone = found[f"{model} engine"]
        bound = [cores / (one + other) for one, other in zip(found["decoding"], alone, strict=True)]
        milliseconds = [float(np.median(values)) * 1e3 for values in (found["decoding"], alone)]
        fps, limit = float(np.median(daemon)), float(np.median(bound))
        table.add(model, args.backend, fps, *milliseconds, limit, ratio(daemon, bound), WANTED)
    return [table]


def _cpu_seconds(run: Callable[[], None], seconds: float) -> float:
    turn = engine_turn(run, seconds, {})
    return turn.cpu_seconds / turn.frames


def _config(folder: Path, port: int, model: Path, clip: Path, backend: str) -> Path:
    folder.mkdir()
    source = {"video": str(clip), "pace": "asap", "loop": True}
    line = {"name": "line1", "topic": "factory/line1", "source": source, "decide": {"per": "frame"}, "publish": "all"}
    engine = {"backend": backend, "device": "cpu", "precision": "int8"}
    return write_config(folder, port, [line], model=str(model.resolve()), engine=engine)


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        video={"type": Path, "help": "this one (default: one that is made)"},
        backend={"default": "onnxruntime", "help": "(default: %(default)s)"},
    )
