"""The whole daemon: the installed command in a process of its own, real files, a real mosquitto, a real subscriber."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from conftest import ROOT, Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from rig import Message, Subscriber, endless_line, finish, images_line, start, write_config, write_images


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    subscriber = Subscriber(mosquitto.port)
    yield subscriber
    subscriber.close()


def test_one_message_per_image_then_a_clean_end(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 7)
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [images_line(folder)])))
    assert status == 0, log
    messages = subscriber.wait_for("factory/line1/defects", 7)
    assert [m["part"] for m in messages] == list(range(1, 8))
    assert [m["frame"]["seq"] for m in messages] == list(range(7))
    assert [Path(m["frame"]["file"]).name for m in messages] == [f"{n:03d}.png" for n in range(7)]
    assert [m["id"] for m in messages] == sorted({m["id"] for m in messages})
    assert not any(m["late"] for m in messages)
    last = subscriber.last_state("line1")
    assert last["state"] == "waiting"
    assert last["reason"] == "the source has ended"
    assert last["counts"]["frames"] == last["counts"]["decisions"] == 7
    status_messages = subscriber.wait_for("edgecls/cell-7/status", 2)
    assert [m["status"] for m in status_messages] == ["online", "offline"]
    assert status_messages[0]["lines"] == [{"name": "line1", "topic": "factory/line1"}]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has one inference at a time")
def test_pictures_that_are_seen_two_at_a_time_are_decided_alike_and_in_order(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, clip: Path
) -> None:
    told = []
    for engine, ahead in (({}, True), ({"streams": 1}, False)):
        source = {"video": str(clip), "pace": "asap"}
        line = {**images_line(clip), "source": source}
        folder = tmp_path / str(ahead)
        folder.mkdir()
        status, log = finish(start(write_config(folder, mosquitto.port, [line], engine=engine)))
        assert status == 0, log
        assert (", 2 streams" in log) is ahead
        subscriber.wait_for("edgecls/cell-7/status", 2)  # `offline` is the last message
        told.append([(m["frame"]["seq"], m["verdict"], m["label"]) for m in subscriber.on("factory/line1/defects")])
        subscriber.messages.clear()
    assert told[0] == told[1]
    assert [seq for seq, _, _ in told[0]] == list(range(len(told[0])))


def test_content_type_is_told_over_mqtt_5(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 1)
    finish(start(write_config(tmp_path, mosquitto.port, [images_line(folder)])))
    subscriber.wait_for("factory/line1/defects", 1)
    assert {p.ContentType for p in subscriber.properties[:1]} == {"application/json"}


def test_what_is_retained_stays_for_those_who_come_later(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 2)
    finish(start(write_config(tmp_path, mosquitto.port, [images_line(folder)])))
    late = Subscriber(mosquitto.port)
    late.wait_for("edgecls/cell-7/status", 1)
    late.wait_for("factory/line1/state", 1)
    late.wait_for("factory/line1/health", 1)
    late.close()
    assert all(retained for _, retained, _ in late.messages)
    assert {m["status"] for m in late.on("edgecls/cell-7/status")} == {"offline"}
    assert not late.on("factory/line1/defects")


def test_two_lines_side_by_side(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, clip: Path) -> None:
    folder = write_images(tmp_path / "images", 5)
    video = {**endless_line(clip, "line2"), "source": {"video": str(clip), "pace": "asap"}}
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [images_line(folder), video])))
    assert status == 0, log
    assert len(subscriber.wait_for("factory/line1/defects", 5)) == 5
    truth = json.loads((ROOT / "models/demo/conveyor.truth.json").read_text())["frames"]
    messages = subscriber.wait_for("factory/line2/defects", len(truth))
    assert [m["part"] for m in messages] == list(range(1, len(truth) + 1))
    whole = [frame for frame in truth if frame["wholly_in_view"]]
    right = sum(messages[frame["seq"]]["label"] == frame["label"] for frame in whole)
    assert right / len(whole) >= 0.95


def test_only_defects_are_published_unless_all_are_asked_for(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, clip: Path
) -> None:
    line = {**endless_line(clip), "source": {"video": str(clip), "pace": "asap"}, "publish": "defects"}
    finish(start(write_config(tmp_path, mosquitto.port, [line])))
    counts = subscriber.last_state("line1")["counts"]
    messages = subscriber.wait_for("factory/line1/defects", counts["reject"] + counts["review"])
    assert counts["pass"] > 0
    assert {m["verdict"] for m in messages} <= {"reject", "review"}
    assert [m["part"] for m in messages] == list(range(1, len(messages) + 1)), "the numbering has no gap"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(
    number: signal.Signals, mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, clip: Path
) -> None:
    process = start(write_config(tmp_path, mosquitto.port, [endless_line(clip)]))
    subscriber.wait_for("factory/line1/defects", 20)
    process.send_signal(number)
    status, log = finish(process)
    assert status == 0, log
    decided = subscriber.last_state("line1")["counts"]["decisions"]
    assert len(subscriber.on("factory/line1/defects")) == decided, "something was not acknowledged before the end"
    assert subscriber.on("edgecls/cell-7/status")[-1]["status"] == "offline"


def test_the_numbering_goes_on_after_a_restart(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path) -> None:
    config = write_config(tmp_path, mosquitto.port, [images_line(write_images(tmp_path / "images", 4))])
    finish(start(config))
    finish(start(config))
    messages = subscriber.wait_for("factory/line1/defects", 8)
    assert [m["part"] for m in messages] == list(range(1, 9))


def test_decisions_wait_for_a_broker_that_is_away(mosquitto: Mosquitto, tmp_path: Path) -> None:
    config = write_config(tmp_path, mosquitto.port, [images_line(write_images(tmp_path / "images", 6))])
    mosquitto.stop()
    status, log = finish(start(config))
    assert status == 1
    assert f"broker 127.0.0.1:{mosquitto.port} does not answer" in log
    assert "6 decisions were not acknowledged" in log
    assert "sent after the next start" in log
    mosquitto.start()
    subscriber = Subscriber(mosquitto.port)
    status, log = finish(start(config))
    assert status == 0, log
    messages = subscriber.wait_for("factory/line1/defects", 12)
    subscriber.close()
    assert [m["part"] for m in messages] == list(range(1, 13))
    assert [m["late"] for m in messages[:6]] == [True] * 6


def test_a_broker_that_goes_and_comes_back_loses_nothing(mosquitto: Mosquitto, tmp_path: Path, clip: Path) -> None:
    mosquitto.configure("allow_anonymous true", "persistence true", f"persistence_location {mosquitto.folder}/")
    mosquitto.stop()
    mosquitto.start()
    seen: list[Message] = []
    for _ in range(3):
        subscriber = Subscriber(mosquitto.port)
        if not seen:
            process = start(write_config(tmp_path, mosquitto.port, [endless_line(clip)]))
        subscriber.wait_for("factory/line1/defects", 30)
        # No message between the last one received here and the first one of the next subscriber may be lost by
        # edgecls; the broker, stopped in an orderly way, has delivered what it had acknowledged.
        mosquitto.stop()
        time.sleep(0.5)
        subscriber.close()
        seen += subscriber.on("factory/line1/defects")
        mosquitto.start()
    process.send_signal(signal.SIGTERM)
    status, log = finish(process)
    assert status == 0, log
    assert "lost broker" in log
    # What the broker had delivered but not yet acknowledged when it stopped comes again: once per id is once.
    parts = [message["part"] for message in {message["id"]: message for message in seen}.values()]
    assert parts == sorted(parts)


def test_what_the_broker_refuses_stays_and_holds_nobody_up(mosquitto: Mosquitto, tmp_path: Path) -> None:
    rules = mosquitto.folder / "rules"
    rules.write_text("topic readwrite edgecls/#\ntopic readwrite factory/line1/#\ntopic read #\n")
    mosquitto.stop()
    mosquitto.configure("allow_anonymous true", f"acl_file {rules}")
    mosquitto.start()
    folder = write_images(tmp_path / "images", 6)
    lines = [images_line(folder), images_line(folder, "line2")]
    config = write_config(tmp_path, mosquitto.port, lines)
    subscriber = Subscriber(mosquitto.port)
    status, log = finish(start(config))
    assert status == 1
    assert "does not accept a message: Not authorized: check its access rules" in log
    assert "6 decisions were not acknowledged" in log
    assert len(subscriber.wait_for("factory/line1/defects", 6)) == 6
    assert subscriber.wait_for("edgecls/cell-7/status", 2)[-1]["status"] == "offline"
    subscriber.close()

    mosquitto.stop()
    rules.write_text("topic readwrite #\n")
    mosquitto.start()
    subscriber = Subscriber(mosquitto.port)
    assert finish(start(config))[0] == 0
    assert [m["part"] for m in subscriber.wait_for("factory/line2/defects", 12)] == list(range(1, 13))
    subscriber.close()


def test_offline_is_the_last_word(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", 9)
    config = write_config(tmp_path, mosquitto.port, [images_line(folder)])
    mosquitto.stop()
    for _ in range(2):
        finish(start(config))
    mosquitto.start()
    subscriber = Subscriber(mosquitto.port)
    finish(start(config))
    subscriber.wait_for("factory/line1/defects", 27)
    subscriber.wait_for("edgecls/cell-7/status", 2)
    subscriber.close()
    assert subscriber.messages[-1][0] == "edgecls/cell-7/status"
    assert subscriber.messages[-1][2]["status"] == "offline"


def test_a_signal_while_the_engines_are_loaded(mosquitto: Mosquitto, tmp_path: Path, clip: Path) -> None:
    process = start(write_config(tmp_path, mosquitto.port, [endless_line(clip), endless_line(clip, "line2")]))
    assert process.stderr is not None
    assert "model surface-demo" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 0


def test_a_killed_daemon_is_announced_by_its_last_will(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path, clip: Path
) -> None:
    process = start(write_config(tmp_path, mosquitto.port, [endless_line(clip)]))
    subscriber.wait_for("factory/line1/defects", 5)
    process.kill()
    process.communicate()
    assert [m["status"] for m in subscriber.wait_for("edgecls/cell-7/status", 2)] == ["online", "offline"]


def test_a_broken_image_is_counted_and_the_rest_is_inspected(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    folder = write_images(tmp_path / "images", 5)
    (folder / "002.png").write_bytes(b"not a picture")
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [images_line(folder)])))
    assert status == 0, log
    assert "002.png is damaged or not an image: replace or remove the file" in log
    messages = subscriber.wait_for("factory/line1/defects", 4)
    assert [m["frame"]["seq"] for m in messages] == [0, 1, 3, 4]
    assert subscriber.last_state("line1")["counts"]["bad_frames"] == 1


def test_one_line_that_fails_does_not_touch_the_other(
    mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path
) -> None:
    good = images_line(write_images(tmp_path / "images", 5))
    bad = {**images_line(tmp_path, "line2"), "source": {"video": "nowhere.mp4"}}
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [bad, good])))
    assert status == 1
    assert "nowhere.mp4 does not exist: check the path" in log
    assert len(subscriber.wait_for("factory/line1/defects", 5)) == 5
    fault = subscriber.last_state("line2")
    assert fault["state"] == "fault"
    assert "nowhere.mp4 does not exist" in fault["reason"]


def test_a_camera_that_is_not_there_is_waited_for(mosquitto: Mosquitto, subscriber: Subscriber, tmp_path: Path) -> None:
    line = {**images_line(tmp_path), "source": {"camera": "/dev/video99"}}
    process = start(write_config(tmp_path, mosquitto.port, [line]))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = subscriber.on("factory/line1/state")
        if states and "camera" in states[-1]["reason"]:
            break
        time.sleep(0.05)
    assert states[-1]["state"] == "waiting"
    assert "camera /dev/video99 is not there" in states[-1]["reason"]
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


def test_the_embedded_broker_serves_subscribers(tmp_path: Path, free_port: int, clip: Path) -> None:
    config = write_config(tmp_path, free_port, [endless_line(clip)], mqtt={"host": "embedded", "port": free_port})
    process = start(config)
    enough = threading.Semaphore(0)
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda c, *_: c.subscribe("factory/#", qos=1)
    client.on_message = lambda *_: enough.release()
    client.connect_async("127.0.0.1", free_port)
    client.reconnect_delay_set(1, 1)
    client.loop_start()
    assert all(enough.acquire(timeout=30) for _ in range(20))
    client.disconnect()
    client.loop_stop()
    process.send_signal(signal.SIGTERM)
    status, log = finish(process)
    assert status == 0, log
    assert "for trying things out only" in log


def test_a_port_that_is_taken_is_named(mosquitto: Mosquitto, tmp_path: Path, clip: Path) -> None:
    mqtt = {"host": "embedded", "port": mosquitto.port}
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [endless_line(clip)], mqtt=mqtt)))
    assert status == 1
    assert f"edgecls: port {mosquitto.port} is taken" in log
    assert "mqtt.host" in log


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / "model.int8.onnx").unlink(), "lacks the file model.int8.onnx"),
        (lambda b: (b / "golden.npz").write_bytes(b"x"), "is not the file that model.json describes"),
    ],
)
def test_a_damaged_bundle_is_refused(damage: Any, message: str, broken_bundle: Path, tmp_path: Path) -> None:
    damage(broken_bundle)
    config = write_config(tmp_path, 1, [images_line(tmp_path)], model=str(broken_bundle))
    status, log = finish(start(config))
    assert status == 1
    assert message in log
    assert len(log.strip().splitlines()) == 1, log


def test_a_wrong_configuration_exits_with_78(tmp_path: Path) -> None:
    config = write_config(tmp_path, 0, [{"name": "line1"}])
    status, log = finish(start(config))
    assert status == 78
    assert "mqtt.port: must be at least 1, not 0" in log
