import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT


def classify(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli", "classify", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def images(tmp_path: Path, clip: Path) -> list[Path]:
    capture = cv2.VideoCapture(str(clip))
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.asarray(capture.read()[1]))
    return paths


def test_json_lines(images: list[Path], surface_demo: Path) -> None:
    done = classify("--model", surface_demo, "--json", *images)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["image"] for row in rows] == [str(path) for path in images]
    for row in rows:
        assert set(row) == {"image", "label", "score", "scores", "ms"}
        assert row["score"] == max(row["scores"].values()) == row["scores"][row["label"]]
        assert row["ms"] > 0


def test_text_for_people(images: list[Path], surface_demo: Path) -> None:
    done = classify("--model", surface_demo, "--top", 2, images[0])
    assert done.stdout.startswith(f"{images[0]}: ")
    assert done.stdout.count(",") == 1


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_each_backend_says_the_same(backend: str, images: list[Path], surface_demo: Path) -> None:
    default = [json.loads(x)["label"] for x in classify("--model", surface_demo, "--json", *images).stdout.splitlines()]
    done = classify("--model", surface_demo, "--backend", backend, "--precision", "fp32", "--json", *images)
    assert [json.loads(x)["label"] for x in done.stdout.splitlines()] == default


def test_a_broken_image_is_named_and_the_rest_is_done(images: list[Path], surface_demo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n")
    done = classify("--model", surface_demo, "--json", images[0], broken, tmp_path / "none.png", images[1])
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert "broken.png is damaged or not an image: replace or remove the file" in done.stderr
    assert "none.png does not exist: check the path" in done.stderr
    assert "2 of 4 images could not be read" in done.stderr


def test_wrong_usage_is_2(images: list[Path], surface_demo: Path) -> None:
    assert classify("--model", surface_demo).returncode == 2
    assert classify("--model", surface_demo, "--top", 0, images[0]).returncode == 2


def test_no_bundle_is_one_sentence(images: list[Path], tmp_path: Path) -> None:
    done = classify("--model", tmp_path / "none", images[0])
    assert done.returncode == 1
    assert done.stderr == f"edgecls: bundle {tmp_path / 'none'} does not exist: give the directory of a model bundle\n"


def test_the_model_comes_from_the_configuration(images: list[Path], surface_demo: Path, tmp_path: Path) -> None:
    line = {"name": "a", "topic": "a", "source": {"images": "*.png"}}
    config = tmp_path / "edgecls.yaml"
    config.write_text(json.dumps({"model": str(surface_demo), "lines": [line]}))
    assert classify("--config", config, images[0]).returncode == 0
    assert classify("--config", tmp_path / "none.yaml", images[0]).returncode == 78
