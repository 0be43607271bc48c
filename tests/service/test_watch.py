"""The command `edgecls watch` against a real broker and a real daemon, through pipes and through a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import ROOT, Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from rig import Subscriber, endless_line, finish, start, write_config

Watch = Callable[..., "subprocess.Popen[str]"]
DECISION = {"schema": "edgecls/decision/1", "id": "a", "part": 1, "verdict": "review", "label": "scratch", "score": 0.5}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "service.cli", "watch", *map(str, arguments)]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Starts the command; whatever still runs is ended with the test."""
    made: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        made.append(subprocess.Popen(command(*arguments), stdout=pipe, stderr=pipe, text=True, cwd=ROOT))
        return made[-1]

    yield begin
    for process in made:
        process.kill()
        process.wait()


@pytest.fixture
def daemon(mosquitto: Mosquitto, tmp_path: Path, clip: Path) -> Iterator[Path]:
    """Two lines at work; their configuration."""
    lines = [endless_line(clip, name) for name in ("line1", "line2")]
    for line in lines:
        line["source"]["pace"] = "realtime"
        line["decide"] = {"per": "change"}  # slow enough to be read
    config = write_config(tmp_path, mosquitto.port, lines)
    process = start(config)
    yield config
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


def say(port: int, topic: str, payload: object, *, retain: bool = False) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    client.publish(topic, data, qos=1, retain=retain).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def until(process: "subprocess.Popen[str]", text: str) -> str:
    """What it prints up to and with the line that has the text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"it ended before {text!r}: {said}")


def test_json_for_pipes_ends_after_the_decisions_asked_for(daemon: Path, watch: Watch) -> None:
    out, log = watch("--config", daemon, "--json", "--count", 5).communicate(timeout=60)
    documents = [json.loads(line) for line in out.splitlines()]
    assert sum(document["topic"].endswith("/defects") for document in documents) == 5
    assert all(document["message"]["node"] == "cell-7" for document in documents)
    assert {document["topic"].rsplit("/")[-1] for document in documents} >= {"defects", "state", "status"}
    assert "edgecls watch: 5 decisions in " in log
    assert "Traceback" not in log


def test_without_a_configuration_it_finds_the_lines_by_itself(
    daemon: Path, mosquitto: Mosquitto, watch: Watch, tmp_path: Path
) -> None:
    assert daemon.parent == tmp_path
    process = watch("--port", mosquitto.port)
    said = until(process, "decision line1: ") + until(process, "decision line2: ")
    assert "state    line1: inspecting" in said
    assert "status   device cell-7 is online" in said
    process.send_signal(signal.SIGINT)
    out, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.search(r"^edgecls watch: \d+ decisions in .*, 0 missing, 0 repeats, 0 ignored$", out, re.MULTILINE)
    assert log == ""


def test_it_watches_one_topic_alone(daemon: Path, watch: Watch) -> None:
    out, _ = watch("factory/line2", "--config", daemon, "--count", 3).communicate(timeout=60)
    assert out.count("decision line2: ") == 3
    assert "line1" not in out


def test_it_neither_publishes_nor_throws_another_off_the_broker(
    daemon: Path, mosquitto: Mosquitto, watch: Watch
) -> None:
    subscriber = Subscriber(mosquitto.port)
    subscriber.wait_for("edgecls/cell-7/status", 1)
    watchers = [watch("--config", daemon, "--count", 3) for _ in range(2)]
    for process in watchers:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "lost broker" not in out
    subscriber.close()
    assert [message["status"] for message in subscriber.on("edgecls/cell-7/status")] == ["online"]
    nodes = {message["node"] for _, _, message in subscriber.messages}
    assert nodes == {"cell-7"}


def test_it_goes_on_when_the_broker_comes_back(mosquitto: Mosquitto, watch: Watch) -> None:
    mosquitto.stop()
    process = watch("factory/#", "--port", mosquitto.port)
    until(process, f"broker 127.0.0.1:{mosquitto.port} does not answer (Connection refused): trying again")
    for number in range(2):
        mosquitto.start()
        until(process, "connected to broker")
        # It subscribes after it has connected: a retained message reaches it in any case.
        message = {**DECISION, "id": str(number), "part": 1 + 4 * number}
        say(mosquitto.port, "factory/line1/defects", message, retain=True)
        said = until(process, f"REVIEW scratch 0.50 part {1 + 4 * number}")
        mosquitto.stop()
        until(process, "lost broker")
    assert "parts 2 to 4 are not seen here: the broker was away" in said


def test_a_wrong_password_is_one_sentence(mosquitto: Mosquitto, watch: Watch, tmp_path: Path, clip: Path) -> None:
    file = mosquitto.folder / "passwords"
    file.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(file), "edgecls", "s3cret"], check=True)
    mosquitto.stop()
    mosquitto.configure(f"password_file {file}", "allow_anonymous false")
    mosquitto.start()
    (tmp_path / "password").write_text("wr0ng")
    mqtt = {"host": "127.0.0.1", "port": mosquitto.port, "username": "edgecls", "password_file": "password"}
    config = write_config(tmp_path, mosquitto.port, [endless_line(clip)], mqtt=mqtt)
    process = watch("--config", config)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    (sentence,) = log.splitlines()
    assert "refuses the login" in sentence
    assert "check mqtt.username and mqtt.password_file" in sentence
    (tmp_path / "password").write_text("s3cret")
    process = watch("--config", config)
    until(process, "connected to broker")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_the_embedded_broker_can_be_watched(watch: Watch, tmp_path: Path, free_port: int, clip: Path) -> None:
    config = write_config(tmp_path, free_port, [endless_line(clip)], mqtt={"host": "embedded", "port": free_port})
    daemon = start(config)
    for arguments in (("--config", config), ("--port", free_port)):
        process = watch(*arguments, "--count", 3)
        out, log = process.communicate(timeout=60)
        assert process.returncode == 0, out + log
        assert out.count("decision line1: ") == 3
    daemon.send_signal(signal.SIGTERM)
    assert finish(daemon)[0] == 0


def test_time_is_up_before_enough_came(mosquitto: Mosquitto, watch: Watch) -> None:
    process = watch("a", "--port", mosquitto.port, "--seconds", 1.5, "--count", 2)
    _, log = process.communicate(timeout=30)
    assert (process.returncode, log) == (1, "edgecls watch: 2 decisions did not come within 1.5 s\n")
    assert watch("a", "--port", mosquitto.port, "--seconds", 1.5).wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a/#/b"], "'a/#/b' is no topic: give one such as"),
        (["--count", "0"], "--count 0: give 1 or more"),
        (["--seconds", "nan"], "--seconds nan: give more than 0"),
        (["--port", "0"], "--port a number from 1 to 65535"),
        (["--host", "mqtt://me:secret@x"], "--host must be a host name or an address alone"),
        (["--host", "x", "--config", "y"], "--config names the broker already"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], message: str, watch: Watch) -> None:
    process = watch(*arguments)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert message in log
    assert "secret" not in log


class Terminal:
    """The command in a terminal of 100 x 30, and everything that it has written there."""

    def __init__(self, *arguments: object) -> None:
        self._screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color"}
        everything = {"stdin": inside, "stdout": inside, "stderr": inside, "env": environment, "cwd": ROOT}
        self.process: subprocess.Popen[bytes] = subprocess.Popen(command(*arguments), **everything)  # type: ignore[call-overload]  # a mapping
        os.close(inside)
        self.written = b""

    def shows(self, *texts: str, timeout_s: float = 60) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            picture = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.written.rpartition(b"\x1b[H")[2]).decode(
                "utf-8", "replace"
            )
            if all(text in picture for text in texts):
                return True
            if select.select([self._screen], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # it has ended
                    self.written += os.read(self._screen, 65536)
        return False

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


def test_the_screen_shows_states_and_decisions_and_gives_the_terminal_back(daemon: Path, mosquitto: Mosquitto) -> None:
    terminal = Terminal("--config", daemon)
    try:
        assert terminal.shows("line1  inspecting", "line2  inspecting", "line2: inspecting")
        assert terminal.shows("Last decisions", "scratch", "reject", "pass")
        evil: dict[str, Any] = {**DECISION, "label": "\x1b]0;owned\x07"}
        say(mosquitto.port, "factory/line1/defects", evil)
        say(mosquitto.port, "factory/line1/defects", b"\x1b]0;owned\x07")
        assert terminal.shows("\ufffd]0;owned\ufffd", "1 ignored, last factory/line1/defects: not JSON")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.shows("edgecls watch: ", " decisions in ", "1 ignored")
        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()
    assert b"\x1b]0" not in terminal.written
    assert terminal.written.rindex(b"\x1b[?1049l") > terminal.written.rindex(b"\x1b[?1049h"), "the other screen is left"
    assert b"\x1b[?25h" in terminal.written[terminal.written.rindex(b"\x1b[?25l") :], "the cursor is back"
