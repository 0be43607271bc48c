"""A line whose picture cannot be trusted, through the whole daemon: its state, and what becomes of its decisions."""

import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Mosquitto
from rig import Message, Subscriber, finish, start, write_config
from scenes import Scene, drawings

from edge.reference import write_reference


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a line at work, three in which it is black, two as before."""
    scene = Scene(drawings(5), 5, (640, 360))
    path = tmp_path_factory.mktemp("film") / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (640, 360))
    for number in range(15 * 7):
        writer.write(scene.picture(number / 15, "black" if 30 <= number < 75 else None))
    writer.release()
    return path


def line(film: Path, folder: Path, **trust: object) -> Message:
    source = {"video": str(film), "pace": "realtime"}
    line = {"name": "line1", "topic": "factory/line1", "source": source, "decide": {"per": "frame"}, "publish": "all"}
    return {**line, "trust": {"reference": str(folder / "line1.png"), **trust}}


def test_decisions_on_a_black_picture_are_review(film: Path, tmp_path: Path, mosquitto: Mosquitto) -> None:
    subscriber = Subscriber(mosquitto.port)
    code, _ = finish(start(write_config(tmp_path, mosquitto.port, [line(film, tmp_path)])))
    last = subscriber.last_state("line1")
    states = subscriber.on("factory/line1/state")
    decisions = subscriber.on("factory/line1/defects")
    subscriber.close()
    assert code == 0
    (blind,) = [state for state in states if state["state"] == "blind"]
    (cause,) = blind["causes"]
    assert cause["cause"] == "black"
    assert cause["figure"] < cause["threshold"] == 24
    assert blind["reason"].startswith("black: the brightest part of the picture has grey level ")
    names = [state["state"] for state in states]
    assert names[names.index("blind") + 1] == "inspecting"  # it does not flap
    doubted = [d["frame"]["seq"] for d in decisions if d.get("reason") == blind["reason"]]
    assert doubted == list(range(doubted[0], doubted[-1] + 1))
    assert 30 < doubted[0] <= 60  # within two seconds of 15 frames
    assert 75 <= doubted[-1] < 105
    assert {d["verdict"] for d in decisions if d["frame"]["seq"] in doubted} == {"review"}
    assert last["counts"]["decisions"] == len(decisions) == 105
    assert last["counts"]["withheld"] == 0


def test_decisions_on_a_black_picture_are_withheld_if_so_configured(
    film: Path, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    subscriber = Subscriber(mosquitto.port)
    config = write_config(tmp_path, mosquitto.port, [line(film, tmp_path, while_blind="withhold")])
    code, _ = finish(start(config))
    counts = subscriber.last_state("line1")["counts"]
    decisions = subscriber.on("factory/line1/defects")
    subscriber.close()
    assert code == 0
    assert counts["withheld"] > 15
    assert len(decisions) == counts["decisions"] == 105 - counts["withheld"]
    assert [d["part"] for d in decisions] == list(range(1, len(decisions) + 1))


def test_a_trigger_is_answered_with_review_however_blind_the_line_is(tmp_path: Path, mosquitto: Mosquitto) -> None:
    dark = tmp_path / "dark.avi"
    writer = cv2.VideoWriter(str(dark), cv2.VideoWriter.fourcc(*"MJPG"), 15, (640, 360))
    for _ in range(15):
        writer.write(np.full((360, 640, 3), 3, np.uint8))
    writer.release()
    section = line(dark, tmp_path, while_blind="withhold") | {"decide": {"per": "trigger"}}
    section["source"]["loop"] = True
    subscriber = Subscriber(mosquitto.port)
    process = start(write_config(tmp_path, mosquitto.port, [section]))
    states = subscriber.wait_for("factory/line1/state", 1)
    while states[-1]["state"] != "blind":
        states = subscriber.wait_for("factory/line1/state", len(states) + 1)
    os.kill(process.pid, signal.SIGUSR1)
    (reply,) = subscriber.wait_for("factory/line1/defects", 1)
    process.terminate()
    finish(process)
    subscriber.close()
    assert reply["verdict"] == "review"
    assert reply["reason"].startswith("black: ")
    assert reply["frame"] is not None


def test_a_new_reference_picture_is_taken_over_on_reload(film: Path, tmp_path: Path, mosquitto: Mosquitto) -> None:
    """One of another place: the camera was moved."""
    scene = Scene(drawings(5), 5, (640, 360))
    section = line(film, tmp_path, black="off", focus="off")
    section["source"]["loop"] = True
    subscriber = Subscriber(mosquitto.port)
    process = start(write_config(tmp_path, mosquitto.port, [section]))
    states = subscriber.wait_for("factory/line1/state", 1)
    while states[-1]["state"] != "inspecting":
        states = subscriber.wait_for("factory/line1/state", len(states) + 1)
    reference = scene.reference()
    reference.image[:] = np.roll(reference.image, 30, axis=1)
    reference.still[:] = np.roll(reference.still, 30, axis=1)
    write_reference(reference, tmp_path / "line1.png")
    process.send_signal(signal.SIGHUP)
    while states[-1]["state"] != "blind":
        states = subscriber.wait_for("factory/line1/state", len(states) + 1)
    process.terminate()
    finish(process)
    subscriber.close()
    assert [cause["cause"] for cause in states[-1]["causes"]] == ["moved"]
