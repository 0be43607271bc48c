"""A model that draws masks, through the whole daemon and a real broker, and through `edgecls classify`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT, Mosquitto
from rig import Subscriber, finish, images_line, start, write_config
from tiny_segmenter import GREY, write_segmenter


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_segmenter(tmp_path / "bundle", pictures="n")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A free one, one with a scratch, one with a hole that is too small to count and one that is not."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("free", "scratch", "small", "hole"):
        picture = np.full((120, 200, 3), GREY, np.uint8)
        if name == "scratch":
            picture[60:64, 20:180] = 255
        elif name == "small":
            picture[50:54, 50:54] = 0
        elif name == "hole":
            picture[30:60, 150:170] = 0
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder


def test_the_message_carries_the_regions(mosquitto: Mosquitto, tmp_path: Path, bundle: Path, pictures: Path) -> None:
    subscriber = Subscriber(mosquitto.port)
    decide = {"per": "frame", "min_area": {"hole": "0.1 %"}}
    line = images_line(pictures, model=str(bundle), roi=[10, 10, 180, 100], decide=decide)
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [line])))
    assert status == 0, log
    found = {Path(m["frame"]["file"]).stem: m for m in subscriber.wait_for("factory/line1/defects", 4)}
    subscriber.close()  # and every message is held against its schema
    verdicts = {name: message["verdict"] for name, message in found.items()}
    assert verdicts == {"free": "pass", "scratch": "reject", "small": "pass", "hole": "reject"}
    assert found["free"]["regions"] == found["small"]["regions"] == []
    assert found["free"]["scores"] == {"free": 1.0, "scratch": 0.0, "hole": 0.0}
    (scratch,) = found["scratch"]["regions"]
    assert (scratch["label"], scratch["box"], scratch["centre"]) == ("scratch", [20, 60, 160, 4], [99.5, 61.5])
    (hole,) = found["hole"]["regions"]
    assert (hole["box"], hole["area_px"]) == ([150, 30, 20, 30], 600)
    assert hole["area_percent"] == pytest.approx(600 / 18000 * 100, abs=1e-3)
    assert found["hole"]["score"] == hole["score"] > 0.8
    assert found["hole"]["model"]["precision"] == "int8"


def test_a_network_of_nnunet_tells_its_regions(mosquitto: Mosquitto, tmp_path: Path, pictures: Path) -> None:
    from nnunet_results import write_results

    from models.__main__ import main

    bundle = tmp_path / "nnunet"
    assert main(["import-nnunet", str(write_results(tmp_path / "results")), "--out", str(bundle)]) == 0
    rng = np.random.default_rng(2)
    for path in pictures.iterdir():  # nothing is as smooth as drawn grey, and such a network has never seen it
        picture = cv2.imread(str(path))
        assert picture is not None
        noise = rng.normal(0, 4, picture.shape[:2])[..., None]
        cv2.imwrite(str(path), np.clip(picture + noise, 0, 255).astype(np.uint8))
    subscriber = Subscriber(mosquitto.port)
    decide = {"per": "frame", "min_score": 0.5, "min_area": {"hole": "0.5 %", "scratch": "0.8 %"}}
    line = images_line(pictures, model=str(bundle), decide=decide)
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [line])))
    assert status == 0, log
    found = {Path(m["frame"]["file"]).stem: m for m in subscriber.wait_for("factory/line1/defects", 4)}
    subscriber.close()  # and every message is held against its schema
    assert {name: (m["verdict"], m["label"]) for name, m in found.items()} == {
        "free": ("pass", "background"),
        "small": ("pass", "background"),
        "scratch": ("reject", "scratch"),
        "hole": ("reject", "hole"),
    }
    (hole,) = found["hole"]["regions"]
    assert np.abs(np.subtract(hole["box"], [150, 30, 20, 30])).max() <= 2, hole
    (scratch,) = found["scratch"]["regions"]
    assert np.abs(np.subtract(scratch["box"], [20, 60, 160, 4])).max() <= 2, scratch


def classify(*arguments: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli", "classify", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_classify_tells_the_regions_and_draws_them(tmp_path: Path, bundle: Path, pictures: Path) -> None:
    hole = pictures / "hole.png"
    told = json.loads(classify("--model", bundle, "--json", hole).stdout)
    assert [region["box"] for region in told["regions"]] == [[150, 30, 20, 30]]
    run = classify("--model", bundle, "--mask", tmp_path / "mask.png", hole)
    assert run.stdout.splitlines()[0].startswith(f"{hole}: hole 0.9")
    assert run.stdout.splitlines()[1].endswith("600 px (2.50 %), 20x30 at 150, 30")
    drawn = cv2.imread(str(tmp_path / "mask.png"))
    assert drawn is not None
    differs = (drawn != cv2.imread(str(hole))).any(axis=2)
    assert differs[30:60, 150:170].all()
    assert differs.sum() == 600


def test_a_mask_needs_one_image_and_a_model_that_draws_one(bundle: Path, pictures: Path, surface_demo: Path) -> None:
    several = classify("--model", bundle, "--mask", "x.png", pictures / "hole.png", pictures / "free.png")
    assert (several.returncode, several.stderr) == (2, "edgecls classify: --mask is for one image\n")
    other = classify("--model", surface_demo, "--mask", "x.png", pictures / "hole.png")
    assert other.returncode == 2
    assert "--mask is for a model that draws masks, and surface-demo is none" in other.stderr
