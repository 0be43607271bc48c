"""A whole daemon under test: its configuration, its process, and somebody who listens to it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as paho
from conftest import ROOT
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from schemas import check

Message = dict[str, Any]


class Subscriber:
    """Keeps every message of ours on the topics of a filter, and holds each one against its JSON Schema."""

    def __init__(self, port: int, topics: str = "#") -> None:
        self.messages: list[tuple[str, bool, Message]] = []
        self.properties: list[Any] = []
        self._more = threading.Condition()
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._received
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _received(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._more:
            self.messages.append((message.topic, message.retain, json.loads(message.payload)))
            self.properties.append(message.properties)
            self._more.notify_all()

    def on(self, topic: str) -> list[Message]:
        with self._more:
            return [message for name, _, message in self.messages if name == topic]

    def wait_for(self, topic: str, count: int, timeout_s: float = 30) -> list[Message]:
        with self._more:
            enough = self._more.wait_for(lambda: sum(name == topic for name, _, _ in self.messages) >= count, timeout_s)
        assert enough, f"{len(self.on(topic))} of {count} messages on {topic}"
        return self.on(topic)

    def last_state(self, line: str) -> Message:
        """The state after a clean end: `offline` follows it."""
        self.wait_for("edgecls/cell-7/status", 2)
        return self.on(f"factory/{line}/state")[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        for topic, _, message in self.messages:
            check(topic, message)


def write_config(folder: Path, port: int, lines: list[Message], **more: Any) -> Path:
    """JSON is YAML, too."""
    settings = {
        "node": "cell-7",
        "mqtt": {"host": "127.0.0.1", "port": port},
        "outbox": {"path": "outbox.db"},
        "model": str(ROOT / "models/surface-demo"),
        "lines": lines,
        **more,
    }
    path = folder / "edgecls.yaml"
    path.write_text(json.dumps(settings))
    return path


def images_line(folder: Path, name: str = "line1", **more: Any) -> Message:
    line = {"name": name, "topic": f"factory/{name}", "source": {"images": str(folder / "*.png")}}
    return {**line, "decide": {"per": "frame"}, "publish": "all", **more}


def endless_line(clip: Path, name: str = "line1") -> Message:
    source = {"video": str(clip), "loop": True, "pace": "asap"}
    return {**images_line(clip), "name": name, "topic": f"factory/{name}", "source": source}


def write_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.full((120, 160, 3), 40 + number, np.uint8))
    return folder


def start(config: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "service.cli", "run", "--config", str(config), *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **environment})


def finish(process: "subprocess.Popen[str]", timeout_s: float = 60) -> tuple[int, str]:
    _, log = process.communicate(timeout=timeout_s)
    assert "Traceback" not in log, log
    return process.returncode, log
