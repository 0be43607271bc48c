"""What the status page costs the lines: with nobody looking, 1 viewer, 20 viewers, and a flood of requests.

Run: python tests/benchmarks/bench_page.py [--seconds 8] [--rounds 3] [--pace realtime|asap] [--elsewhere] [--json]

One daemon with a line of 1280x720 frames; its viewers take turns, round after round: each hears the stream of events
and takes the live picture four times a second, as a browser does. The flood is thousands of requests, good ones and
nonsense, together with connections that send one byte a second. Every frame gives a message, which a subscriber counts;
latencies are those of the messages, processor time is the kernel's, by thread (`page_percent`: those of the page).

The viewers take processor time, too: on a machine of few cores they are what disturbs most, so that `asap` measures the
machine and `realtime` what a camera would notice. With `--elsewhere` the same viewers and the same flood also ask
another daemon, which inspects next to nothing: what they cost there they cost by being on this machine.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT)]

from conftest import Mosquitto, a_free_port  # noqa: E402  # needs the path
from harness import show_figures  # noqa: E402  # needs the path
from page_rig import Page, page  # noqa: E402  # needs the path
from rig import Subscriber  # noqa: E402  # needs the path

VIEWER = """
import http.client, sys, threading, time
port = int(sys.argv[1])
def stream():
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/events")
    response = connection.getresponse()
    while response.readline():
        pass
def pictures():
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        begin = time.monotonic()
        connection.request("GET", "/lines/line1/picture.jpg")
        connection.getresponse().read()
        time.sleep(max(0.02, 0.25 - (time.monotonic() - begin)))
for _ in range(int(sys.argv[2])):
    for work in (stream, pictures):
        threading.Thread(target=work, daemon=True).start()
time.sleep(3600)
"""
FLOOD = """
import http.client, socket, sys, threading, time
port = int(sys.argv[1])
def ask():
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            for _ in range(100):
                connection.request("GET", "/page.js")
                connection.getresponse().read()
        except OSError:
            pass
def slow():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                for byte in b"GET / HTTP/1.1\\r\\nX: " + b"a" * 1000:
                    connection.sendall(bytes([byte]))
                    time.sleep(1)
        except OSError:
            time.sleep(0.1)
def rude():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"NONSENSE\\r\\n\\r\\n")
                connection.recv(1000)
        except OSError:
            pass
for work, count in ((ask, 4), (slow, 30), (rude, 4)):
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
time.sleep(3600)
"""


ELSEWHERE = " elsewhere"


def write_clip(path: Path, fps: int) -> None:
    """The conveyor of the demo as a camera of 1280x720 would give it."""
    reader = cv2.VideoCapture(str(ROOT / "models/demo/conveyor.mp4"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (1280, 720))
    while (read := reader.read())[0]:
        writer.write(cv2.resize(read[1], (1280, 720)))
    writer.release()


@contextmanager
def company(port: int, kind: str) -> Iterator[None]:
    """Whoever looks meanwhile."""
    scripts = {"0 viewers": None, "1 viewer": (VIEWER, "1"), "20 viewers": (VIEWER, "20"), "flood": (FLOOD,)}
    script = scripts[kind.removesuffix(ELSEWHERE)]
    if script is None:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", script[0], str(port), *script[1:]])
    try:
        time.sleep(1.5)
        yield
    finally:
        process.kill()
        process.wait()


def source(clip: Path, pace: str) -> dict[str, Any]:
    """A live one, which drops what nobody takes in time; or a file, as fast as it is inspected."""
    if pace == "asap":
        return {"video": str(clip), "loop": True, "pace": "asap"}
    play = f"ffmpeg -v error -re -stream_loop -1 -i {clip} -f rawvideo -pix_fmt bgr24 -"
    return {"command": play, "width": 1280, "height": 720, "pixel_format": "bgr24"}


def turn(shown: Page, other: Page | None, subscriber: Subscriber, kind: str, seconds: float) -> dict[str, float]:
    """One turn of one of them. Every frame gives a message: what is missing between their numbers was dropped."""
    asked = other if other is not None and kind.endswith(ELSEWHERE) else shown
    with company(asked.port, kind):
        cpu_s, told, begin = of_threads(shown.process.pid), len(subscriber.messages), time.monotonic()
        time.sleep(seconds)
        used = {tid: spent - cpu_s.get(tid, (0.0, ""))[0] for tid, (spent, _) in of_threads(shown.process.pid).items()}
        names = {tid: name for tid, (_, name) in of_threads(shown.process.pid).items()}
        took = time.monotonic() - begin
        frames = [m for topic, _, m in subscriber.messages[told:] if topic.endswith("/defects")]
    seqs = [message["frame"]["seq"] for message in frames]
    latencies = [message["latency_ms"]["total"] for message in frames]
    page_s = sum(spent for tid, spent in used.items() if names.get(tid, "").startswith("http"))
    return {
        "fps": len(frames) / took,
        "missed": seqs[-1] - seqs[0] + 1 - len(seqs),
        "p50_ms": float(np.percentile(latencies, 50)),
        "p99_ms": float(np.percentile(latencies, 99)),
        "page_percent": page_s / took * 100,
        "all_percent": sum(used.values()) / took * 100,
    }


@contextmanager
def idle_page(folder: Path, broker_port: int) -> Iterator[Page]:
    """Of a daemon whose line, of the same size, has a frame a second."""
    own = folder / "other"
    own.mkdir()
    write_clip(own / "clip.mp4", 1)
    line = {"name": "line1", "topic": "other/line1", "source": {"video": str(own / "clip.mp4"), "loop": True}}
    engine = {"backend": "onnxruntime", "threads": 1}
    with page(own, broker_port, [line], node="other", engine=engine) as shown:
        shown.wait_for("/readyz")
        yield shown


def of_threads(pid: int) -> dict[str, tuple[float, str]]:
    """Seconds of processor time so far and the name of each thread, by its number."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
            found[task.name] = spent, (task / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
    return found


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    kinds = ["0 viewers", "1 viewer", "20 viewers", "flood"]
    if options.elsewhere:
        kinds += [kind + ELSEWHERE for kind in kinds[1:]]
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-page-")))
        write_clip(folder / "clip.mp4", 30)
        broker = Mosquitto(a_free_port(), folder)
        broker.configure("allow_anonymous true", "max_queued_messages 0")
        broker.start()
        stack.callback(broker.stop)
        subscriber = Subscriber(broker.port, "factory/#")
        line = {"name": "line1", "topic": "factory/line1", "source": source(folder / "clip.mp4", options.pace)}
        line |= {"decide": {"per": "frame"}, "publish": "all"}
        shown = stack.enter_context(page(folder, broker.port, [line], engine={"backend": "onnxruntime", "threads": 1}))
        shown.wait_for("/readyz")
        other = stack.enter_context(idle_page(folder, broker.port)) if options.elsewhere else None
        time.sleep(2)
        for number in range(options.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                found[kind].append(turn(shown, other, subscriber, kind, options.seconds))
                time.sleep(1.0)
    result = {}
    for kind, turns in found.items():
        figures = {key: median(one[key] for one in turns) for key in turns[0]}
        against = [one["fps"] / zero["fps"] for one, zero in zip(turns, found["0 viewers"], strict=True)]
        result[kind] = {"fps_ratio": median(against), **figures}
    return {kind: {key: round(value, 3) for key, value in figures.items()} for kind, figures in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    parser.add_argument("--pace", choices=("realtime", "asap"), default="realtime", help="default: %(default)s")
    parser.add_argument("--elsewhere", action="store_true", help="and the same with another daemon's page")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    show_figures(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
