"""A whole daemon keeps pictures: which frame they show, what the broker gets of them, what a model is trained on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as paho
import pytest
from conftest import ROOT, Mosquitto
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from pictures import damaged_in, decoded
from rig import Message, finish, images_line, start, write_config, write_images

from models.dataset import read_dataset
from service.evidence.ring import Ring


def edgecls(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)


def listed(config: Path, *words: object) -> list[Message]:
    done = edgecls("evidence", "list", "--config", config, "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a daemon that has inspected the clip, part by part; nobody took its messages."""
    folder = tmp_path_factory.mktemp("kept")
    line = {
        "name": "line1",
        "topic": "factory/line1",
        "source": {"video": str(ROOT / "models/demo/conveyor.mp4"), "pace": "asap"},
        "decide": {"per": "part"},
    }
    config = write_config(folder, 1, [line], mqtt={"host": "127.0.0.1", "port": 1}, evidence={"publish": True})
    status, log = finish(start(config), 240)
    assert "decisions were not acknowledged" in log, log
    assert status == 1
    return config


def test_every_reject_has_the_picture_of_the_frame_that_it_names(kept: Path, clip: Path) -> None:
    folder = kept.parent / "evidence"
    assert damaged_in(folder) == []
    found = listed(kept)
    truth = json.loads((ROOT / "models/demo/conveyor.truth.json").read_text())
    assert len(found) >= 3, truth
    capture = cv2.VideoCapture(str(clip))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    exact = 0
    for entry in found:
        assert entry["decision"]["verdict"] in ("reject", "review")
        document = json.loads(Path(entry["picture"]).with_suffix(".json").read_text())
        shown = decoded(Path(entry["picture"]).read_bytes()).astype(int)
        off = [np.abs(shown - frames[seq]).mean() for seq in range(len(frames))]
        seq = document["picture"]["seq"]
        assert off[seq] == min(off), f"{entry['decision']['id']}: frame {seq}, looks like {np.argmin(off)}"
        exact += seq == entry["decision"]["frame"]["seq"]
    rejects = sum(entry["decision"]["verdict"] == "reject" for entry in found)
    assert exact >= rejects


def test_list_tells_people_and_programs_and_narrows(kept: Path) -> None:
    text = edgecls("evidence", "list", "--config", kept).stdout.splitlines()
    found = listed(kept)
    assert len(text) == len(found)
    newest = found[0]
    assert newest["decision"]["ts"] > found[-1]["decision"]["ts"]
    assert f"part {newest['decision']['part']}" in text[0]
    assert newest["picture"] in text[0]
    rejects = [entry for entry in found if entry["decision"]["verdict"] == "reject"]
    label = rejects[0]["decision"]["label"]
    assert listed(kept, "--label", label) == [e for e in rejects if e["decision"]["label"] == label]
    assert listed(kept, "--line", "line1", "--since", "1h") == found
    assert listed(kept, "--since", "2099-01-01") == []
    assert listed(kept, "--since", newest["decision"]["ts"]) == [newest]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "--since", "yesterday"], "--since 'yesterday' is no time: give one such as 8h, 2d, 2026-11-22"),
        (["list", "--line", "line9"], "there is no line 'line9' in the configuration: its lines are line1"),
        (["export", "--output", "/dev/null/x"], "/dev/null/x cannot be written (Not a directory): give another"),
    ],
)
def test_mistakes_are_named(kept: Path, words: list[str], says: str) -> None:
    done = edgecls("evidence", *words, "--config", kept)
    assert done.returncode == (1 if "export" in words else 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_person_has_said_comes_to_the_workshop(kept: Path, tmp_path: Path) -> None:
    found = listed(kept)
    said = {found[0]["decision"]["id"]: "ok", found[1]["decision"]["id"]: "stain"}
    ring = Ring(kept.parent / "evidence", 64 * 1024 * 1024)
    ring.open()
    output = tmp_path / "pictures"
    first = edgecls("evidence", "export", "--config", kept, "--output", output, "--json")
    assert first.returncode == 0, first.stderr
    for item_id, label in said.items():
        ring.relabel(item_id, label)
    ring.close()
    again = edgecls("evidence", "export", "--config", kept, "--output", output, "--json")
    told = json.loads(again.stdout)
    assert told["pictures"] == len(found)
    assert told["damaged"] == 0
    dataset = read_dataset(output)
    assert dataset.labels[0] == "ok"
    of_ids = {picture.image.stem.removeprefix("line1-"): picture.label for picture in dataset.pictures}
    for entry in found:
        decision = entry["decision"]
        told_by_the_model = decision["label"] if decision["verdict"] == "reject" else None
        assert of_ids.get(decision["id"]) == said.get(decision["id"], told_by_the_model)
    assert len(of_ids) == sum(told["labels"].values())
    decisions = [json.loads(line) for line in (output / "decisions.jsonl").read_text().splitlines()]
    assert {entry["decision"]["id"]: entry["label"] for entry in decisions}.items() >= said.items()
    assert len(decisions) == len(found)
    for entry in decisions:
        assert (output / entry["image"]).is_file()


def test_a_model_learns_from_it(kept: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    output = tmp_path / "pictures"
    ring = Ring(kept.parent / "evidence", 64 * 1024 * 1024)
    ring.open()
    for number, item in enumerate(list(ring.items())):
        ring.relabel(item.id, "ok" if number % 2 else "scratch")
    assert edgecls("evidence", "export", "--config", kept, "--output", output).returncode == 0
    for item in list(ring.items()):
        ring.relabel(item.id, None)
    ring.close()
    held_out = read_dataset(output).pictures[0].fold
    command = [sys.executable, "-m", "models", "train", "--data", str(output), "--out", str(tmp_path / "run")]
    how = ["--epochs", "1", "--samples", "16", "--size", "64", "--threads", "1", "--fold", str(held_out)]
    done = subprocess.run([*command, *how], capture_output=True, text=True, cwd=ROOT, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run").exists()


def test_an_index_is_kept(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "images/ok").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/ok/a.png"), np.zeros((8, 8, 3), np.uint8))
    index = tmp_path / "index.csv"
    index.write_text("image,label,tile,fold,split\nimages/ok/a.png,ok,7,3,train\n")
    for _ in range(2):  # what is there already does not come twice
        assert edgecls("evidence", "export", "--config", kept, "--output", tmp_path).returncode == 0
    dataset = read_dataset(tmp_path)
    rejects = [entry for entry in listed(kept) if entry["decision"]["verdict"] == "reject"]
    assert len(dataset.pictures) == 1 + len(rejects)
    assert len({picture.tile for picture in dataset.pictures}) == 1 + len(rejects)


def test_what_the_model_does_not_see_is_cut_off(mosquitto: Mosquitto, tmp_path: Path) -> None:
    images = write_images(tmp_path / "frames", 3)
    line = images_line(images, roi=[40, 10, 80, 60], decide={"per": "frame", "min_score": 1.0})
    config = write_config(tmp_path, mosquitto.port, [line])
    assert finish(start(config))[0] == 0
    found = listed(config)
    assert len(found) == 3
    assert decoded(Path(found[0]["picture"]).read_bytes()).shape == (120, 160, 3)
    assert edgecls("evidence", "export", "--config", config, "--output", tmp_path / "out").returncode == 0
    (one, *_) = (tmp_path / "out/unlabelled").glob("*.jpg")
    assert decoded(one.read_bytes()).shape == (60, 80, 3)


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311])
def test_the_newest_picture_goes_out_when_asked_for(
    mosquitto: Mosquitto, tmp_path: Path, version: MQTTProtocolVersion
) -> None:
    line = images_line(write_images(tmp_path / "frames", 3), decide={"per": "frame", "min_score": 1.0})
    config = write_config(tmp_path, mosquitto.port, [line], evidence={"publish": True})
    assert finish(start(config))[0] == 0
    received: list[Any] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.on_message = lambda _client, _data, message: received.append(message)
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("factory/line1/defects/image")
    for _ in range(100):
        client.loop(0.1)
        if received:
            break
    client.disconnect()
    (message,) = received
    assert message.retain
    assert decoded(message.payload).shape == (120, 160, 3)
    ids = [entry["decision"]["id"] for entry in listed(config)]
    about = json.loads(message.payload[6 : 4 + int.from_bytes(message.payload[4:6], "big")])
    assert message.payload[2:4] == b"\xff\xfe"
    assert about["id"] in ids
    assert about["line"] == "line1"
    if version == MQTTProtocolVersion.MQTTv5:
        assert (message.properties.ContentType, message.properties.PayloadFormatIndicator) == ("image/jpeg", 0)
