"""Triggers from the broker to the reply: the whole daemon, a real mosquitto, an asker with MQTT 5 or 3.1.1."""

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asker import DEFECTS, REPLIES, TRIGGER, Asker
from conftest import Mosquitto
from mqtt_rig import until
from rig import Message, Subscriber, endless_line, finish, images_line, start, write_config, write_images

Daemon = Callable[..., "subprocess.Popen[str]"]


def line(source: Message, **decide: Any) -> Message:
    return {
        "name": "line1",
        "topic": "factory/line1",
        "source": source,
        "decide": {"per": "trigger", "timeout_s": 30, **decide},
    }


def passing(clip: Path, **decide: Any) -> Message:
    """What passes in front of a camera: endless, at its own pace."""
    return line({"video": str(clip), "pace": "realtime", "loop": True}, **decide)


NO_CAMERA: Message = {"camera": "/dev/video99"}


@pytest.fixture
def daemon(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Daemon]:
    """Starts one and waits until it can be triggered; what still runs at the end must end in order."""
    running: list[subprocess.Popen[str]] = []

    def run(lines: Message, *, online: bool = True, **more: Any) -> "subprocess.Popen[str]":
        process = start(write_config(tmp_path, mosquitto.port, [lines], **more))
        running.append(process)
        if online:
            watching = Subscriber(mosquitto.port, "edgecls/#")
            watching.wait_for("edgecls/cell-7/status", 1)
            watching.close()
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        if process.stderr is not None and not process.stderr.closed:
            assert finish(process)[0] == 0


@pytest.fixture(params=[True, False], ids=["mqtt5", "mqtt311"])
def asker(request: pytest.FixtureRequest, mosquitto: Mosquitto) -> Iterator[Asker]:
    asker = Asker(mosquitto.port, is_5=request.param)
    yield asker
    asker.close()


@pytest.fixture
def plc(mosquitto: Mosquitto) -> Iterator[Asker]:
    asker = Asker(mosquitto.port)
    yield asker
    asker.close()


def stop(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGTERM)
    status, log = finish(process)
    assert status == 0, log
    return log


def test_image_files_give_one_picture_for_each_trigger_in_order(daemon: Daemon, asker: Asker, tmp_path: Path) -> None:
    source = images_line(write_images(tmp_path / "images", 5))["source"]
    process = daemon(line(source))
    for number in range(5):
        asker.ask_for(str(number))
    replies = asker.wait_for_replies(5)
    assert asker.ids == ["0", "1", "2", "3", "4"]
    assert [reply["frame"]["seq"] for reply in replies] == [0, 1, 2, 3, 4]
    stop(process)
    assert len(asker.replies) == 5


def test_what_passes_is_looked_at_only_when_asked(daemon: Daemon, asker: Asker, clip: Path) -> None:
    process = daemon(passing(clip))
    for number in range(3):
        asker.ask_for(str(number))
        asker.wait_for_replies(number + 1)
    stop(process)
    assert asker.ids == ["0", "1", "2"]
    assert {topic for topic, _, _ in asker.replies} == {DEFECTS}
    for _, reply, _ in asker.replies:
        assert reply["frame"]["captured_at"] >= reply["trigger"]["received_at"]


def test_a_pass_is_answered_though_only_defects_are_published(daemon: Daemon, plc: Asker, clip: Path) -> None:
    daemon(passing(clip, min_score=0))

    def passed() -> bool:
        plc.ask()
        return any(reply["verdict"] == "pass" for _, reply, _ in plc.replies)

    assert until(passed, 60)


def test_the_reply_goes_where_it_is_asked_for(daemon: Daemon, plc: Asker, clip: Path) -> None:
    daemon(passing(clip))
    plc.ask_for("a", reply_topic=REPLIES, correlation=b"\x00\xff")
    plc.wait_for_replies(1)
    plc.ask_for("b", correlation=b"here")
    plc.wait_for_replies(2)
    assert [(topic, reply["trigger"]["id"], data) for topic, reply, data in plc.replies] == [
        (REPLIES, "a", b"\x00\xff"),
        (DEFECTS, "b", b"here"),
    ]


@pytest.mark.skipif(not shutil.which("mosquitto_rr"), reason="mosquitto_rr is not installed")
def test_mosquitto_rr_gets_its_reply(daemon: Daemon, mosquitto: Mosquitto, clip: Path) -> None:
    daemon(passing(clip))
    command = ["mosquitto_rr", "-p", str(mosquitto.port), "-V", "mqttv5", "-q", "1", "-W", "30", "-t", TRIGGER]
    command += ["-e", REPLIES, "-m", '{"id": "pallet 17/3"}', "-D", "publish", "correlation-data", "4711"]
    done = subprocess.run([*command, "-F", "%D %p"], capture_output=True, text=True, check=True, timeout=60)
    data, _, reply = done.stdout.partition(" ")
    assert (data, json.loads(reply)["trigger"]["id"]) == ("4711", "pallet 17/3")


def test_triggers_faster_than_frames_are_each_answered_once(daemon: Daemon, asker: Asker, clip: Path) -> None:
    process = daemon(passing(clip))
    for number in range(200):
        asker.ask_for(str(number))
    asker.wait_for_replies(200)
    stop(process)
    assert Counter(asker.ids) == dict.fromkeys(map(str, range(200)), 1)


def test_without_a_frame_the_reply_says_so(daemon: Daemon, asker: Asker) -> None:
    daemon(line(NO_CAMERA, timeout_s=3))
    asker.ask_for("a")
    (reply,) = asker.wait_for_replies(1)
    assert reply["reason"].startswith("timeout: no frame within 3 s (camera /dev/video99 is not there")
    assert (reply["verdict"], reply["frame"], reply["label"], reply["trigger"]["id"]) == ("review", None, None, "a")


PAYLOADS: dict[bytes, str | None] = {
    b"": None,
    b"1": None,
    b"\xff\xfe\x00{": None,
    b"[" * 2000: None,
    b'{"id":' * 600: None,
    b'[{"id": "a"}]': None,
    b'{"id": 1}': None,
    b'{"id": NaN}': None,
    b'{"id": null}': None,
    b'{"id": "a\\u0000b"}': None,
    b'{"id": "a\\u001b[2J"}': None,
    b'{"id": "\\ud800"}': None,
    b'{"id": "a\x00b"}': None,
    b'{"id": "\xc3\x28"}': None,
    b'{"id": "' + b"x" * 129 + b'"}': None,
    b'{"id": "' + b"y" * 128 + b'"}': "y" * 128,
    b'{"id": "z", "more": NaN}': "z",
    b' \n{"id": "spaced"}\n': "spaced",
    '{"id": "Träger 3 ✓"}'.encode(): "Träger 3 ✓",
    b'{"id": "w", "more": "' + b"x" * 60_000 + b'"}': None,
    b"\x00" * 65_000: None,
}
TOO_LARGE = [b"x" * 70_000, b'{"id": "' + b"x" * 1_000_000 + b'"}', b"x" * 10_000_000]


def test_whatever_is_sent_is_answered_once_and_does_no_harm(daemon: Daemon, asker: Asker, clip: Path) -> None:
    process = daemon(passing(clip))
    for payload in PAYLOADS:
        asker.ask(payload)
    asker.wait_for_replies(len(PAYLOADS))
    assert Counter(asker.ids) == Counter(PAYLOADS.values())
    for payload in TOO_LARGE:
        asker.ask(payload)
    asker.ask_for("last")
    asker.wait_for(lambda: "last" in asker.ids)
    stop(process)
    assert len(asker.replies) == len(PAYLOADS) + 1


def test_a_retained_trigger_is_from_another_time(daemon: Daemon, asker: Asker, clip: Path) -> None:
    asker.ask(b'{"id": "old"}', retain=True).wait_for_publish(10)
    process = daemon(passing(clip))
    asker.ask_for("new")
    asker.wait_for_replies(1)
    stop(process)
    assert asker.ids == ["new"]


KEPT = ["factory/line1/state", "factory/line1/health", TRIGGER, "edgecls/cell-7/status"]
NOT_FOR_REPLIES = ["a/#", "+/a", "$SYS/x", *KEPT, "/".join("d" * 300), "l" * 10_000]
"""Mosquitto ends the connection of whoever publishes to one with more than 200 levels."""


def test_a_reply_that_may_not_go_where_it_should_goes_to_defects(daemon: Daemon, plc: Asker, clip: Path) -> None:
    process = daemon(passing(clip))
    for number, topic in enumerate(NOT_FOR_REPLIES):
        plc.ask_for(str(number), reply_topic=topic, correlation=b"x")
    plc.wait_for_replies(len(NOT_FOR_REPLIES))
    stop(process)
    assert {topic for topic, _, _ in plc.replies} == {DEFECTS}
    assert Counter(plc.ids) == dict.fromkeys(map(str, range(len(NOT_FOR_REPLIES))), 1)


def test_a_signal_triggers(daemon: Daemon, plc: Asker, clip: Path) -> None:
    process = daemon(passing(clip))
    for count in range(1, 4):
        process.send_signal(signal.SIGUSR1)
        plc.wait_for_replies(count)
    stop(process)
    assert plc.ids == [None] * 3


@pytest.mark.parametrize("source", [NO_CAMERA, None], ids=["no camera", "frames"])
def test_who_still_waits_at_the_end_is_answered(
    daemon: Daemon, asker: Asker, clip: Path, source: Message | None
) -> None:
    process = daemon(line(source, timeout_s=3600) if source else passing(clip))
    asker.ask_for("first")
    if source is None:
        asker.wait_for_replies(1)
    for number in range(50):
        asker.ask_for(str(number)).wait_for_publish(10)
    stop(process)
    asker.wait_for_replies(51)
    assert Counter(asker.ids) == dict.fromkeys(["first", *map(str, range(50))], 1)


def test_the_correlation_outlives_the_broker(daemon: Daemon, mosquitto: Mosquitto) -> None:
    """The trigger came, the broker goes before the reply does, and comes back; it remembers who subscribes."""
    mosquitto.stop()
    mosquitto.configure("allow_anonymous true", "persistence true", f"persistence_location {mosquitto.folder}/")
    mosquitto.start()
    plc = Asker(mosquitto.port)
    daemon(line(NO_CAMERA, timeout_s=3))
    plc.ask_for("a", reply_topic=REPLIES, correlation=b"4711").wait_for_publish(10)
    time.sleep(1)  # the broker has it; the daemon must have it, too
    mosquitto.stop()
    time.sleep(4)  # the time of the trigger is up meanwhile
    mosquitto.start()
    plc.wait_for_replies(1)
    ((topic, reply, data),) = plc.replies
    assert (topic, reply["trigger"]["id"], data, reply["late"]) == (REPLIES, "a", b"4711", True)
    plc.close()


def test_a_line_that_decides_by_itself_listens_to_no_triggers(daemon: Daemon, plc: Asker, clip: Path) -> None:
    process = daemon(endless_line(clip) | {"publish": "defects", "decide": {"per": "change"}})
    plc.ask_for("a")
    stop(process)
    assert not [reply for _, reply, _ in plc.replies if "trigger" in reply]
