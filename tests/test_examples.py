"""The subscribers in docs/examples, against a real broker and a real daemon."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.publish as mqtt
import pytest
from conftest import ROOT, Mosquitto
from programs import Program
from rig import Message, endless_line, finish, images_line, start, write_config, write_images
from schemas import examples

from edge.clock import rfc3339

EXAMPLES = ROOT / "docs/examples"
PARTS = 6


def send(port: int, topic: str, message: Any, *, retain: bool = False) -> None:
    mqtt.single(topic, json.dumps(message), qos=1, retain=retain, hostname="127.0.0.1", port=port)


def decide(folder: Path, port: int) -> None:
    """A daemon that makes PARTS decisions about one line, and ends."""
    line = images_line(write_images(folder / "frames", PARTS))
    assert finish(start(write_config(folder, port, [line])))[0] == 0


def state(**changes: Any) -> Message:
    return {**examples("state")[0], "ts": rfc3339(time.time_ns()), **changes}


def status(word: str) -> Message:
    return {**examples("status")[0], "status": word}


@pytest.fixture
def shell(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Program]:
    """It listens: it has printed a state that the broker kept for it."""
    command = [EXAMPLES / "subscribe.sh", "factory/line1", "-h", "127.0.0.1", "-p", str(mosquitto.port)]
    send(mosquitto.port, "factory/line1/state", state(state="blind", reason="too dark"), retain=True)
    with Program(command, tmp_path / "shell") as program:
        program.wait_for("Z line1 is blind: too dark$")
        yield program


@pytest.fixture
def python(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Program]:
    """It listens: it knows a status that the broker kept for it."""
    command = [sys.executable, EXAMPLES / "subscribe.py", "factory/line1", "--port", str(mosquitto.port)]
    send(mosquitto.port, "edgecls/cell-7/status", status("offline"), retain=True)
    send(mosquitto.port, "factory/line1/state", state(), retain=True)
    with Program(command, tmp_path / "python") as program:
        program.wait_for("the line is unknown: cell-7 is not online")
        yield program


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split("part ")[1].split(":")[0]) for line in lines]


def test_both_print_what_the_daemon_decides(
    shell: Program, python: Program, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    decide(tmp_path, mosquitto.port)
    for program, pattern in ((shell, r"^\S+Z line1 part"), (python, "^part")):
        printed = program.wait_for(rf"{pattern} \d+: (pass|reject|review) \w+ 0\.\d+$", PARTS)
        assert numbers(printed) == list(range(1, PARTS + 1))
    shell.wait_for("line1 is waiting: the source has ended")
    python.wait_for("the line is unknown: cell-7 is not online", 2)
    assert not [line for line in python.lines if "missing" in line or "repeat" in line or "again" in line]


def test_both_print_a_reason_and_what_is_missing_without_a_picture(
    shell: Program, python: Program, mosquitto: Mosquitto
) -> None:
    for message in examples("decision"):
        send(mosquitto.port, "factory/line1/defects", {**message, "late": True})
    for program in (shell, python):
        program.wait_for(r"part 4: reject scratch 0\.9506 late$")
        program.wait_for(r"part 5: review scratch 0\.5172 \(the frames disagree: scratch 3, stain 2\) late$")
        program.wait_for(r"part 6: review (-|None) (-|None) \(timeout: no frame within 1 s\) late$")


def test_python_drops_repeats_and_notices_gaps(python: Program, mosquitto: Mosquitto) -> None:
    first, second, third, _ = examples("decision")
    topic = "factory/line1/defects"
    for message in (first, first, {**third, "part": 8}, {**second, "part": 7}, {**first, "id": "02" + first["id"][2:]}):
        send(mosquitto.port, topic, message)
    python.wait_for("^part 4: reject", 2)
    decisions = [line for line in python.lines if not line.startswith("the line is")]
    assert [line.split(" scratch")[0].split(" None")[0] for line in decisions] == [
        "part 4: reject",
        "part 4: a repeat, dropped",
        "parts 5 to 7: missing",
        "part 8: review",
        "part 7: review",
        "part 4: the numbers begin again",
        "part 4: reject",
    ]


def test_python_knows_how_the_line_is_and_when_it_does_not(
    python: Program, mosquitto: Mosquitto, tmp_path: Path, clip: Path
) -> None:
    daemon = start(write_config(tmp_path, mosquitto.port, [endless_line(clip)]))
    try:
        python.wait_for("^the line is inspecting$")
    finally:
        daemon.kill()
        daemon.communicate()
    python.wait_for("the line is unknown: cell-7 is not online", 2)
    send(mosquitto.port, "edgecls/cell-7/status", status("online"), retain=True)
    send(mosquitto.port, "factory/line1/state", state(ttl_s=2))
    python.wait_for("^the line is unknown: no state for 2 s$")
    send(
        mosquitto.port,
        "factory/line1/state",
        state(state="fault", reason="no camera", ts="2026-01-01T00:00:00.000000Z"),
    )
    python.wait_for("^the line is fault: no camera$")


def test_python_does_not_trust_an_old_state_that_the_broker_kept(mosquitto: Mosquitto, tmp_path: Path) -> None:
    send(mosquitto.port, "edgecls/cell-7/status", status("online"), retain=True)
    send(mosquitto.port, "factory/line1/state", state(ts="2026-01-01T00:00:00.000000Z"), retain=True)
    command = [sys.executable, EXAMPLES / "subscribe.py", "factory/line1", "--port", str(mosquitto.port)]
    with Program(command, tmp_path / "python") as python:
        python.wait_for("^the line is unknown: no state for 30 s$")
    assert "the line is inspecting" not in python.lines
