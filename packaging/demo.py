"""`./install.sh demo`: the daemon on the bundled clip, and a real subscriber that prints what it receives.

The daemon is the installed command in a process of its own, with an embedded broker on a free port of the loopback
interface. Messages go to stdout, one JSON document per line; everything else goes to stderr.
"""

import argparse
import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "models/demo/conveyor.mp4"
TRUTH = ROOT / "models/demo/conveyor.truth.json"
TOPIC = "factory/line1/defects"
CONFIGURATION = """\
node: demo
mqtt: {{host: embedded, port: {port}}}
outbox: {{path: outbox.db}}
model: {model}
lines:
  - name: line1
    topic: factory/line1
    source: {{video: {clip}, pace: {pace}}}
    decide: {{per: {per}}}
    publish: all
"""


class Subscriber:
    """Receives the messages of one topic, and connects as soon as the broker is there."""

    def __init__(self, port: int, total: int) -> None:
        self.messages: list[dict[str, Any]] = []
        self.all_here = threading.Event()
        self._total = total
        self._bar = tqdm(total=total, unit="message", file=sys.stderr, disable=None)
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
        self._client.on_message = self._received
        self._port = port

    def connect(self, daemon: "subprocess.Popen[bytes]", timeout_s: float) -> None:
        """Try until the broker answers, every few milliseconds: not one message shall be missed."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and daemon.poll() is None:
            with contextlib.suppress(OSError):
                self._client.connect("127.0.0.1", self._port)
                self._client.loop_start()
                return
            time.sleep(0.01)
        sys.exit("demo: the daemon's broker does not answer: see the messages above")

    def _received(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        text = message.payload.decode()
        with self._bar.external_write_mode():
            print(text, flush=True)  # noqa: T201  # what it received is its result
        self.messages.append(json.loads(text))
        self._bar.update()
        if len(self.messages) >= self._total:
            self.all_here.set()

    def close(self) -> None:
        """Leave."""
        self._bar.close()
        self._client.disconnect()
        self._client.loop_stop()


def main() -> int:
    """Run the demo; 0 when the daemon ended well and a message for every frame, or every part, arrived."""
    parser = argparse.ArgumentParser(prog="./install.sh demo", description="See edgecls inspect a clip.")
    parser.add_argument("--realtime", action="store_true", help="at the speed of the clip, not as fast as possible")
    parser.add_argument(
        "--model", type=Path, default=ROOT / "models/surface-demo", metavar="DIR", help="another bundle"
    )
    parser.add_argument("--per", choices=("frame", "part"), default="frame", help="a message for each (default: frame)")
    args = parser.parse_args()
    truth = json.loads(TRUTH.read_text(encoding="utf-8"))
    expected = len(truth["frames"]) if args.per == "frame" else len(_labels_of_parts(truth))
    with tempfile.TemporaryDirectory(prefix="edgecls-demo-") as folder:
        port = _free_port()
        config = Path(folder) / "edgecls.yaml"
        pace = "realtime" if args.realtime else "asap"
        config.write_text(
            CONFIGURATION.format(port=port, model=args.model.resolve(), clip=CLIP, pace=pace, per=args.per)
        )
        _say(
            f"edgecls inspects {CLIP.relative_to(ROOT)}, {len(truth['frames'])} frames; a subscriber listens on {TOPIC}"
        )
        command = [str(Path(sys.executable).parent / "edgecls"), "run", "--config", str(config)]
        daemon = subprocess.Popen(command)  # noqa: S603  # our own command
        subscriber = Subscriber(port, expected)
        try:
            subscriber.connect(daemon, timeout_s=30)
            status = daemon.wait()
            subscriber.all_here.wait(timeout=2)
        except KeyboardInterrupt:
            daemon.send_signal(signal.SIGINT)
            status = daemon.wait()
        finally:
            if daemon.poll() is None:
                daemon.terminate()
            subscriber.close()
    _summary(subscriber.messages, truth, args.per)
    return 0 if status == 0 and len(subscriber.messages) == expected else 1


def _summary(messages: list[dict[str, Any]], truth: dict[str, Any], per: str) -> None:
    labels = dict(Counter(m["label"] for m in messages))
    _say(f"\n{len(messages)} messages received on {TOPIC}, one per {per}: {labels}")
    if not messages:
        return
    if per == "frame":
        by_seq = {message["frame"]["seq"]: message["label"] for message in messages}
        whole = [frame for frame in truth["frames"] if frame["wholly_in_view"]]
        right, of = sum(by_seq.get(frame["seq"]) == frame["label"] for frame in whole), len(whole)
        what = "frames with a part wholly in view"
    else:
        wanted = _labels_of_parts(truth)
        right, of = sum(m["label"] == label for m, label in zip(messages, wanted, strict=False)), len(wanted)
        what = "parts"
    _say(f"{right} of {of} {what} have the right label ({right / of:.1%}); ./install.sh demo --help tells more")
    parts = [message["part"] for message in messages]
    gaps = sum(b - a != 1 for a, b in itertools.pairwise(parts))
    infer = sorted(message["latency_ms"]["infer"] for message in messages)[len(messages) // 2]
    model = messages[0]["model"]
    _say(f"gaps in the numbering: {gaps}; inference p50 {infer:.1f} ms ({model['name']} {model['precision']})")


def _labels_of_parts(truth: dict[str, Any]) -> list[str]:
    """Of each part of the clip, in the order in which they pass."""
    labels = {frame["part"]: frame["label"] for frame in truth["frames"] if frame["part"] is not None}
    return [labels[part] for part in sorted(labels)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  # a command-line tool


if __name__ == "__main__":
    sys.exit(main())
