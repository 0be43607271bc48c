"""What people would run instead, on the same model and frames, in turn.

`python tests/benchmarks/bench_rivals.py --models DIR`. Engines by themselves: edgecls' bound run, a plain loop around
ONNX Runtime with default options, PyTorch eager, and OpenVINO's own `benchmark_app` (a process of its own, so beside
the others rather than in their rounds). And the whole way from a JPEG to a broker: edgecls' pipeline and publisher
against the loop that tutorials show (PIL, NumPy, a default session, a blocking publish for each frame). It needs
mosquitto, Pillow and torch.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import paho.mqtt.client as paho
from bench_lines import together
from bench_precision import torch_run
from harness import Table, asked, broker, bundle, in_turn, main, publisher, ratio
from paho.mqtt.enums import CallbackAPIVersion

from edge.bundle import Bundle
from edge.clock import SystemClock
from edge.engine import Engine
from edge.frame import Frame
from service.bench import frames
from service.bench.measure import Contender, engine_turn
from service.messages import ModelInfo
from service.publisher import Publisher

BACKENDS = ("onnxruntime", "openvino")
TOPIC = "factory/line1/defects"


def plain_loop(file: Path) -> Callable[[], None]:
    """`session.run` on a NumPy array, with a default session."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    kind = np.uint8 if "uint8" in taken.type else np.float32
    array = np.random.default_rng(1).integers(0, 255, taken.shape).astype(kind)

    def run() -> None:
        session.run(None, {taken.name: array})

    return run


def benchmark_app(file: Path, seconds: float, hint: str) -> float | None:
    """Frames per second that OpenVINO's own program tells; None when it is not installed."""
    program = shutil.which("benchmark_app", path=str(Path(sys.executable).parent))
    if program is None:
        return None
    seconds = max(2, round(seconds))  # it takes whole ones
    command = [program, "-m", str(file), "-d", "CPU", "-hint", hint, "-t", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Throughput:\s+([\d.]+) FPS", done.stdout)
    return float(found[1]) if found else None


def tutorial_step(file: Path, model: Bundle, jpeg: bytes, client: paho.Client) -> Callable[[], None]:
    """One frame as tutorials write it."""
    from PIL import Image

    spec = model.manifest.input.spec
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    floats = "float" in taken.type

    def step() -> None:
        picture = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((spec.width, spec.height))
        array: Any = np.asarray(picture)
        if floats:
            array = (np.asarray(array, np.float32) / 255 - np.asarray(spec.mean, np.float32)) / np.asarray(
                spec.std, np.float32
            )
        if taken.shape[1] == 3:
            array = array.transpose(2, 0, 1)
        scores = session.run(None, {taken.name: np.ascontiguousarray(array[np.newaxis])})[0][0]
        best = int(np.argmax(scores))
        message = {"label": model.labels[best], "score": float(scores[best]), "ts": time.time()}
        client.publish(TOPIC, json.dumps(message), qos=1).wait_for_publish()

    return step


def edgecls_step(model: Bundle, backend: str, jpeg: bytes, out: Publisher) -> Callable[[], None]:
    """One frame through the pipeline to the publisher, stored and delivered in the background."""
    contender = Contender(model, asked(backend, "int8"))
    encoded = np.frombuffer(jpeg, np.uint8)
    clock = SystemClock()
    manifest = model.manifest
    info = ModelInfo(manifest.name, manifest.version, "int8")

    def step() -> None:
        image: Any = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        for decision in contender.pipeline.inspect(Frame("line1", 0, image, clock.now_ns())):
            out.emit(decision, TOPIC, info)
        while out.backlog > 1000:
            time.sleep(0.001)

    return step


def engines(args: argparse.Namespace, model: Bundle) -> Table:
    table = Table(f"{args.model}: engines by themselves", ("what", "precision", "fps", "edgecls to it"))
    runs: dict[str, Callable[[], None]] = {}
    for backend in BACKENDS:
        runs[f"edgecls, {backend}|int8"] = Engine(model, asked(backend, "int8")).slot().infer
    for precision in ("int8", "fp32"):
        runs[f"ONNX Runtime, plain loop|{precision}"] = plain_loop(model.file(precision, "onnxruntime"))
    runs["PyTorch eager|fp32"] = torch_run(args.model, model)
    turns: dict[str, Callable[[], float]] = {
        name: lambda run=run: engine_turn(run, args.seconds, {}).fps  # type: ignore[misc]  # mypy infers no defaults of lambdas
        for name, run in runs.items()
    }
    cores = len(os.sched_getaffinity(0))
    for backend in BACKENDS:
        engine = Engine(model, asked(backend, "int8"), lines=cores)
        slots = [engine.slot().infer for _ in range(cores)]
        turns[f"edgecls, {backend}, {cores} lines|int8"] = lambda slots=slots: together(slots, args.seconds)  # type: ignore[misc]  # mypy infers no defaults of lambdas
    found = in_turn(turns, args.rounds)
    best = max((found[f"edgecls, {backend}|int8"] for backend in BACKENDS), key=np.median)
    for name, fps in found.items():
        table.add(*name.split("|"), float(np.median(fps)), ratio(best, fps))
    for precision in ("int8", "fp32"):
        for hint in ("latency", "throughput"):
            told = benchmark_app(model.file(precision, "openvino"), args.seconds * args.rounds, hint)  # type: ignore[arg-type]  # a Literal, out of a loop
            if told:
                table.add(f"benchmark_app -hint {hint}", precision, told, float(np.median(best)) / told)
    table.notes.append("`benchmark_app -hint throughput` keeps several frames in flight, as several lines do.")
    return table


def whole_way(args: argparse.Namespace, model: Bundle, folder: Path) -> Table:
    table = Table(
        f"{args.model}: from a JPEG of 1280x720 in memory to a decision that the broker has",
        ("what", "precision", "fps", "edgecls to it"),
        notes=["edgecls stores every decision on disk; the tutorial's loop waits for the broker and stores nothing."],
    )
    encoded = cv2.imencode(".jpg", frames.pictures(model, frames.HD)[0])[1]
    jpeg = bytes(encoded)
    with broker(folder) as port, publisher(folder, port) as out, _client(port) as client:
        steps = {f"edgecls, {backend}|int8": edgecls_step(model, backend, jpeg, out) for backend in BACKENDS}
        for precision in ("int8", "fp32"):
            file = model.file(precision, "onnxruntime")
            steps[f"the tutorial's loop|{precision}"] = tutorial_step(file, model, jpeg, client)
        found = in_turn(
            {name: lambda step=step: engine_turn(step, args.seconds, {}).fps for name, step in steps.items()},  # type: ignore[misc]  # mypy infers no defaults of lambdas
            args.rounds,
        )
    best = max((found[f"edgecls, {backend}|int8"] for backend in BACKENDS), key=np.median)
    for name, fps in found.items():
        table.add(*name.split("|"), float(np.median(fps)), ratio(best, fps))
    return table


@contextmanager
def _client(port: int) -> Iterator[paho.Client]:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def measure(args: argparse.Namespace) -> list[Table]:
    model = bundle(args.models, args.model)
    with tempfile.TemporaryDirectory(prefix="bench-rivals-") as name:
        return [engines(args, model), whole_way(args, model, Path(name))]


if __name__ == "__main__":
    main(__doc__, measure, model={"default": "resnet50", "help": "(default: %(default)s)"})
