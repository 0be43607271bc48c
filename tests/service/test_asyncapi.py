"""The AsyncAPI document is one by the word of the official parser, and says what the daemon does."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml
from conftest import ROOT, Mosquitto
from nodejs import node, npm_ci
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions
from rig import finish, images_line, start, write_config, write_images
from schemas import NAMES, SCHEMAS, check

from service.announcer import TTL_S
from service.mqtt import KEEPALIVE_S

DOCUMENT = SCHEMAS / "asyncapi.yaml"
ERROR, WARNING = 0, 1


@pytest.fixture
def document() -> dict[str, Any]:
    return dict(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")))


def parse(file: Path) -> list[dict[str, Any]]:
    command = [node(), "check.mjs", str(file)]
    done = subprocess.run(command, cwd=npm_ci("asyncapi"), capture_output=True, text=True, check=True)
    return [found for found in json.loads(done.stdout) if found["severity"] in (ERROR, WARNING)]


def test_the_official_parser_accepts_it() -> None:
    assert parse(DOCUMENT) == []


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("state.json", "sate.json", "components.messages.state.payload"),
        ("action: receive", "action: hear", "operations.receiveTrigger.action"),
        ("qos: 0", "qos: 3", "operations.sendHealth.bindings.mqtt"),
    ],
)
def test_the_parser_finds_mistakes(tmp_path: Path, right: str, wrong: str, where: str) -> None:
    """The test above can fail."""
    for schema in SCHEMAS.glob("*.json"):
        (tmp_path / schema.name).write_text(schema.read_text())
    broken = tmp_path / "asyncapi.yaml"
    broken.write_text(DOCUMENT.read_text().replace(right, wrong))
    assert any(found["where"].startswith(where) for found in parse(broken)), parse(broken)


@pytest.mark.parametrize("name", ["asyncapi", "browser", "nodered"])
def test_the_lock_files_of_npm_name_no_registry(name: str) -> None:
    lock = json.loads((ROOT / "tests" / name / "package-lock.json").read_text())
    packages = {path: package for path, package in lock["packages"].items() if path}
    assert packages
    for path, package in packages.items():
        assert "resolved" not in package, path
        assert "integrity" in package or package.get("inBundle"), path


def test_every_schema_has_a_channel_and_every_example_is_valid(document: dict[str, Any]) -> None:
    messages = dict(document["components"]["messages"])
    assert messages.pop("image")["contentType"] == "image/jpeg"
    assert set(messages) == set(NAMES.values()) == {file.stem for file in SCHEMAS.glob("*.json")}
    for name, message in messages.items():
        assert message["payload"] == {"$ref": f"{name}.json"}
        assert message["examples"]
        for example in message["examples"]:
            check(topic_of(document, name), example["payload"])


def topic_of(document: dict[str, Any], message: str) -> str:
    (address,) = {c["address"] for c in document["channels"].values() if message in c["messages"] and c["address"]}
    return str(address)


def test_times_are_those_of_the_daemon(document: dict[str, Any]) -> None:
    operations = document["operations"]
    for name in ("sendState", "sendHealth"):
        assert operations[name]["bindings"]["mqtt"]["messageExpiryInterval"] == TTL_S
    assert {server["bindings"]["mqtt"]["keepAlive"] for server in document["servers"].values()} == {KEEPALIVE_S}


def test_messages_are_sent_as_it_says(document: dict[str, Any], mosquitto: Mosquitto, tmp_path: Path) -> None:
    received: dict[str, tuple[int, bool, str, int]] = {}
    subscribed, over = threading.Event(), threading.Event()

    def note(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        properties: Any = message.properties
        if message.topic.endswith("/image"):
            assert message.payload[:2] == b"\xff\xd8"
        how = message.qos, message.retain, properties.ContentType, properties.PayloadFormatIndicator
        received[message.topic.replace("factory/line1", "{topic}").replace("cell-7", "{node}")] = how
        if b"offline" in message.payload:
            over.set()

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    how_to = SubscribeOptions(qos=1, retainAsPublished=True)
    client.on_connect = lambda client, *_: client.subscribe("#", options=how_to)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = note
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    assert subscribed.wait(10)
    line = images_line(write_images(tmp_path / "frames", 3), decide={"per": "frame", "min_score": 1.0})
    config = write_config(tmp_path, mosquitto.port, [line], evidence={"publish": True})
    assert finish(start(config))[0] == 0
    assert over.wait(10)
    client.disconnect()
    client.loop_stop()

    messages = document["components"]["messages"]
    said = {}
    for operation in document["operations"].values():
        if operation["action"] == "send":
            channel = document["channels"][operation["channel"]["$ref"].rsplit("/", 1)[-1]]
            (name,) = channel["messages"]
            how, what = operation["bindings"]["mqtt"], messages[name]["bindings"]["mqtt"]
            said[channel["address"]] = how["qos"], how["retain"], what["contentType"], what["payloadFormatIndicator"]
    assert received == said
