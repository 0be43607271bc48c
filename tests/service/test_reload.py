"""A new configuration while frames flow: the whole daemon, a real mosquitto, real files, SIGHUP."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asker import Asker
from conftest import ROOT, Mosquitto
from notified import Notified
from rig import Message, Subscriber, finish, images_line, start, write_config

from service.reload import differences
from service.sections import MqttSection

DEFECTS = "factory/{}/defects"


def flowing(clip: Path, name: str, **more: Any) -> Message:
    line = images_line(clip, name, **more)
    return {**line, "source": {"video": str(clip), "loop": True, "pace": "realtime"}}


class Reloading:
    """A daemon, whoever listens to it, and its configuration, which changes."""

    def __init__(self, folder: Path, port: int, notified: Notified, lines: list[Message], **more: Any) -> None:
        self._folder = folder
        self._port = port
        self._more = more
        self.notified = notified
        self.subscriber = Subscriber(port)
        self.config = write_config(folder, port, lines, **more)
        self.process: subprocess.Popen[str] = start(self.config, NOTIFY_SOCKET=str(notified.path))

    def write(self, lines: list[Message], **more: Any) -> None:
        write_config(self._folder, self._port, lines, **{**self._more, **more})

    def reload(self) -> None:
        before = len(self.notified.messages)
        self.process.send_signal(signal.SIGHUP)
        begun = self.notified.wait_for(lambda m: m.startswith("RELOADING=1\nMONOTONIC_USEC="), before)
        self.notified.wait_for(lambda m: m == "READY=1", begun)

    def wait_for_more(self, line: str, count: int = 3) -> list[Message]:
        topic = DEFECTS.format(line)
        before = len(self.subscriber.on(topic))
        return self.subscriber.wait_for(topic, before + count)[before:]

    def last_state(self, line: str) -> Message:
        return self.subscriber.on(f"factory/{line}/state")[-1]

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        status, log = finish(self.process)
        assert status == 0, log
        self.subscriber.wait_for("edgecls/cell-7/status", 2)
        self.subscriber.close()
        return log

    def seqs(self, line: str) -> list[int]:
        return [m["frame"]["seq"] for m in self.subscriber.on(DEFECTS.format(line))]

    def parts(self, line: str) -> list[int]:
        return [m["part"] for m in self.subscriber.on(DEFECTS.format(line))]


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[Notified]:
    with Notified(tmp_path / "notify") as notified:
        yield notified


def test_only_what_has_changed_is_touched(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path, broken_bundle: Path
) -> None:
    first = flowing(clip, "line1")
    second = flowing(clip, "line2", model=str(broken_bundle))
    sure = {**second, "decide": {"per": "frame", "min_score": 0}}
    running = Reloading(tmp_path, mosquitto.port, notified, [first, sure])
    assert {m["verdict"] for m in running.wait_for_more("line2", 10)} <= {"pass", "reject"}
    running.wait_for_more("line1")

    unsure = {**second, "decide": {"per": "frame", "min_score": 1}}
    running.write([first, unsure, flowing(clip, "line3")])
    running.reload()
    running.wait_for_more("line3", 1)
    assert running.wait_for_more("line2", 5)[-1]["verdict"] == "review"
    online = running.subscriber.wait_for("edgecls/cell-7/status", 2)[-1]
    assert [line["name"] for line in online["lines"]] == ["line1", "line2", "line3"]

    running.write([first, unsure], outbox={"path": "outbox.db", "max_mib": 32})
    running.reload()
    notified.wait_for_status("needs `systemctl restart edgecls`: outbox.max_mib")
    running.subscriber.wait_for("edgecls/cell-7/status", 3)
    assert (running.last_state("line3")["state"], running.last_state("line3")["reason"]) == (
        "waiting",
        "removed from the configuration",
    )

    manifest = json.loads((broken_bundle / "model.json").read_text())
    (broken_bundle / "model.json").write_text(json.dumps({**manifest, "version": "9.9.9"}))
    running.reload()
    assert running.wait_for_more("line2", 5)[-1]["model"]["version"] == "9.9.9"
    running.wait_for_more("line1")
    log = running.stop()

    assert running.seqs("line1") == list(range(len(running.seqs("line1")))), "a line that has not changed lost a frame"
    assert running.seqs("line2").count(0) == 3, "it began anew with its threshold and with its model"
    for line in ("line1", "line2", "line3"):
        assert running.parts(line) == list(range(1, len(running.parts(line)) + 1))
    assert "reloaded: restarted line2, added line3" in log
    assert "reloaded: removed line3; needs `systemctl restart edgecls`: outbox.max_mib" in log
    assert "reloaded: restarted line2; needs" in log
    assert log.count("model surface-demo 1.") == 2, "line1 and line3 share an engine, and it is never loaded again"


def test_a_wrong_configuration_changes_nothing(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path, broken_bundle: Path
) -> None:
    line = flowing(clip, "line1")
    running = Reloading(tmp_path, mosquitto.port, notified, [line])
    running.wait_for_more("line1")

    running.config.write_text(running.config.read_text().replace('"lines":', '"nodes": 1,\n"lines":') + "\nx: 1\n")
    running.reload()
    notified.wait_for_status("reload refused, the old configuration stays in force: " + str(running.config))
    running.wait_for_more("line1")

    running.write([{**line, "decide": {"per": "frame", "thresholds": {"dent": 0.5}}}])
    running.reload()
    refused = notified.wait_for_status("decide.thresholds names 'dent', which model surface-demo does not know")

    (broken_bundle / "golden.npz").write_bytes(b"x")
    running.write([line, flowing(clip, "line2", model=str(broken_bundle))])
    running.reload()
    notified.wait_for_status("golden.npz is not the file that model.json describes", refused)

    running.write([line])
    running.reload()
    running.wait_for_more("line1")
    assert (
        "reload refused"
        not in notified.messages[notified.wait_for_status("line1 inspecting", len(notified.messages) - 1)]
    )
    log = running.stop()
    assert f"ERROR {running.config}:" in log
    assert "reloaded: nothing has changed" in log
    assert running.seqs("line1") == list(range(len(running.seqs("line1"))))


def test_triggers_find_their_line_after_a_reload(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path
) -> None:
    other = flowing(clip, "line2")
    running = Reloading(tmp_path, mosquitto.port, notified, [other])
    running.wait_for_more("line2")
    asker = Asker(mosquitto.port)
    asked = {**flowing(clip, "line1"), "decide": {"per": "trigger", "timeout_s": 20}}
    running.write([other, asked])
    running.reload()
    running.process.send_signal(signal.SIGUSR1)
    assert asker.wait_for_replies(1)[0]["verdict"] in ("pass", "reject", "review")
    asker.ask_for("a")
    assert "frame" in asker.wait_for_replies(2)[1]
    running.write([other, {**asked, "decide": {"per": "trigger", "timeout_s": 19}}])
    running.reload()
    asker.ask_for("b")
    asker.wait_for_replies(3)
    running.write([other])
    running.reload()
    running.stop()
    assert [reply["trigger"]["id"] for _, reply, _ in asker.replies] == [None, "a", "b"]
    asker.close()


def test_a_line_that_has_failed_is_tried_again(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path
) -> None:
    line = flowing(tmp_path / "later.mp4", "line2")
    running = Reloading(tmp_path, mosquitto.port, notified, [flowing(clip, "line1"), line])
    notified.wait_for_status("line2 fault")
    (tmp_path / "later.mp4").write_bytes(clip.read_bytes())
    running.reload()
    running.wait_for_more("line2")
    running.stop()


def test_a_second_reload_follows_the_first(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path
) -> None:
    line = flowing(clip, "line1")
    running = Reloading(tmp_path, mosquitto.port, notified, [line])
    running.wait_for_more("line1")
    running.write([line, flowing(clip, "line2", model=str(ROOT / "models/magnetic-tile"))])
    running.process.send_signal(signal.SIGHUP)
    first = notified.wait_for(lambda m: m.startswith("RELOADING=1"))
    running.process.send_signal(signal.SIGHUP)
    ready = notified.wait_for(lambda m: m == "READY=1", first)
    second = notified.wait_for(lambda m: m.startswith("RELOADING=1"), first + 1)
    assert ready < second, "one at a time"
    notified.wait_for(lambda m: m == "READY=1", second)
    running.wait_for_more("line2", 1)
    log = running.stop()
    assert (log.count("reloaded: added line2"), log.count("reloaded: nothing has changed")) == (1, 1)


def test_the_keys_that_differ_are_named() -> None:
    old = MqttSection.model_validate({"host": "a", "tls": {"ca_file": "x"}})
    new = MqttSection.model_validate({"host": "b", "tls": {"ca_file": "y"}})
    assert list(differences(old, new, "mqtt")) == ["mqtt.host", "mqtt.tls.ca_file"]
    assert list(differences(old, MqttSection(host="a"), "mqtt")) == ["mqtt.tls"]
    assert list(differences(old, old, "mqtt")) == []
