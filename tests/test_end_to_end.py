"""From real photographs to `mosquitto_sub`, and back to what the workshop measured."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT, Mosquitto
from schemas import check

from edge.bundle import load_bundle
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from models.dataset import Picture, read_dataset
from models.measure import measure
from models.metrics import accuracy, balanced_accuracy, confusion

MODEL = ROOT / "models/magnetic-tile"


@pytest.fixture
def pictures(tiles: Path) -> list[Picture]:
    return read_dataset(tiles).split("val")


@pytest.fixture
def folder(pictures: list[Picture], tmp_path: Path) -> Path:
    """The photographs in one folder, in the order of `pictures`, and as a video of twice the size of the input."""
    (tmp_path / "val").mkdir()
    taken = load_bundle(MODEL).manifest.input.spec
    size = 2 * taken.width, 2 * taken.height
    frame = np.empty((1, size[1], size[0], 3), np.uint8)
    fitted = Preprocessor(InputSpec(*size, "BGR", taken.resize, fill=taken.fill), frame)
    writer = cv2.VideoWriter(str(tmp_path / "val.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, size)
    for number, picture in enumerate(pictures):
        (tmp_path / "val" / f"{number:04d}{picture.image.suffix}").symlink_to(picture.image)
        fitted(read_image(picture.image))
        writer.write(frame[0])
    writer.release()
    return tmp_path


@pytest.fixture
def listener(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Path]:
    """What `mosquitto_sub` prints, line by line, in a file."""
    path = tmp_path / "received"
    port = str(mosquitto.port)
    with path.open("wb") as file:
        command = ["mosquitto_sub", "-p", port, "-t", "factory/#", "-q", "1", "-F", "%t %p"]
        process = subprocess.Popen(command, stdout=file)
        for _ in range(100):  # until it hears something, it may not have subscribed yet
            subprocess.run(["mosquitto_pub", "-p", port, "-t", "factory/hello", "-m", "hello"], check=True)
            if path.stat().st_size:
                break
            time.sleep(0.05)
        else:
            pytest.fail("mosquitto_sub hears nothing")
        yield path
        process.terminate()
        process.wait()


def decisions(path: Path, line: str) -> list[dict[str, Any]]:
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        topic, _, payload = text.partition(" ")
        if topic.startswith("factory/") and payload.startswith("{"):
            message = json.loads(payload)
            check(topic, message)
            if topic == f"factory/{line}/defects":
                found.append(message)
    return found


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_accuracy_over_mqtt_is_what_the_workshop_measured(
    backend: Any, pictures: list[Picture], folder: Path, listener: Path, mosquitto: Mosquitto
) -> None:
    common = {"decide": {"per": "frame"}, "publish": "all"}
    images = {"name": "images", "topic": "factory/images", "source": {"images": "val/*"}, **common}
    video = {"name": "video", "topic": "factory/video", "source": {"video": "val.avi", "pace": "asap"}, **common}
    settings = {
        "mqtt": {"port": mosquitto.port},
        "outbox": {"path": "outbox.db"},
        "model": str(MODEL),
        "engine": {"backend": backend, "precision": "int8"},
        "lines": [images, video],
    }
    config = folder / "edgecls.yaml"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "service.cli", "run", "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr

    bundle = load_bundle(MODEL)
    truth = [bundle.labels.index(picture.label) for picture in pictures]
    measured = measure(bundle, pictures, backend, "int8")
    received = {}
    for line in ("images", "video"):
        messages = decisions(listener, line)
        assert [m["frame"]["seq"] for m in messages] == list(range(len(pictures)))
        assert [m["part"] for m in messages] == list(range(1, len(pictures) + 1))
        answers = [bundle.labels.index(m["label"]) for m in messages]
        received[line] = confusion(truth, answers, len(bundle.labels))
    for name, matrix in [("evaluate", measured), *received.items()]:
        print(f"{backend} {name}: accuracy {accuracy(matrix):.4f}, balanced {balanced_accuracy(matrix):.4f}")
    assert received["images"].tolist() == measured.tolist()
    # The video was resized and compressed before the model saw it: close, and not equal.
    assert abs(accuracy(received["video"]) - accuracy(measured)) < 0.1


def test_int8_is_as_good_as_fp32_on_both_backends(pictures: list[Picture]) -> None:
    bundle = load_bundle(MODEL)
    figures = {
        (precision, backend): balanced_accuracy(measure(bundle, pictures, backend, precision))
        for precision in ("fp32", "int8")
        for backend in ("onnxruntime", "openvino")
    }
    print(figures)
    kept = bundle.manifest.metrics["val"]
    assert isinstance(kept, dict)
    for (precision, backend), figure in figures.items():
        assert figure == pytest.approx(kept[f"{precision} {backend}"]["balanced_accuracy"], abs=0.02)
        assert abs(figure - figures["fp32", backend]) <= 0.01


def test_no_photograph_travels_with_the_bundle(pictures: list[Picture]) -> None:
    """The golden inputs were rendered; none of them is a picture of the data set."""
    golden = load_bundle(MODEL).golden_inputs
    spec = load_bundle(MODEL).manifest.input.spec
    for picture in pictures[::10]:
        small = cv2.resize(read_image(picture.image), (spec.width, spec.height)).astype(float).mean(2)
        for image in golden:
            other = image.astype(float).mean(2)
            assert abs(np.corrcoef(small.ravel(), other.ravel())[0, 1]) < 0.9
