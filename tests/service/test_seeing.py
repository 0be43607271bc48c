"""`edgecls reference` and `edgecls snapshot`."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rig import images_line, write_config
from scenes import Scene, drawings

from edge.reference import read_reference
from service.cli import main


@pytest.fixture
def scene() -> Scene:
    return Scene(drawings(5), 5, (640, 360))


def clip_of(scene: Scene, folder: Path, seconds: int = 3) -> Path:
    path = folder / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 360))
    for number in range(30 * seconds):
        writer.write(scene.picture(number / 30))
    writer.release()
    return path


def config_for(clip: Path, folder: Path, **line: object) -> Path:
    source = {"video": str(clip), "pace": "asap"}
    return write_config(folder, 1883, [{**images_line(folder), "source": source, **line}])


def test_the_reference_knows_what_stands_still(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "there/line1.png"
    config = config_for(clip_of(scene, tmp_path), tmp_path, trust={"reference": str(file)})
    assert main(["reference", "line1", "--config", str(config), "--seconds", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{file}: 640x360, the median of 16 pictures out of 61 frames")
    assert "systemctl reload edgecls" in said
    reference = read_reference(file)
    assert reference is not None
    assert reference.image.shape == (360, 640, 3)
    assert reference.still[:40].mean() > 180  # the machine
    assert reference.still[160:200].mean() < 100  # the belt
    assert main(["reference", "line1", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 90


def test_the_snapshot_shows_the_region_and_what_the_model_sees(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_for(
        clip_of(scene, tmp_path, 1), tmp_path, roi=[100, 50, 300, 200], trust={"reference": str(tmp_path / "no.png")}
    )
    picture = tmp_path / "seen.png"
    assert main(["snapshot", "line1", "--config", str(config), "--output", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "[100, 50, 300, 200]" in said
    assert "the model says " in said
    assert "edgecls reference line1" in said
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.shape[1] > 640 + 8
    assert tuple(image[50, 200]) == (0, 220, 0)
    assert np.ptp(image[:, 648:]) > 20
    assert main(["snapshot", "line1", "--config", str(config), "--output", str(picture), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(picture)


@pytest.mark.parametrize("command", ["reference", "snapshot"])
def test_mistakes_get_one_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], surface_demo: Path
) -> None:
    assert surface_demo.is_dir()
    config = config_for(tmp_path / "no.avi", tmp_path)
    assert main([command, "line7", "--config", str(config)]) == 1
    assert capsys.readouterr().err == ("edgecls: there is no line 'line7' in the configuration: its lines are line1\n")
    assert main([command, "line1", "--config", str(config)]) == 1
    assert "does not exist: check the path" in capsys.readouterr().err


def test_a_camera_that_somebody_holds_is_said_to_be_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_for(tmp_path, tmp_path, source={"camera": "/dev/video97"})
    assert main(["snapshot", "line1", "--config", str(config), "--output", str(tmp_path / "a.png")]) == 1
    said = capsys.readouterr().err
    assert "/dev/video97" in said
    assert "systemctl stop edgecls" in said


def test_a_damaged_reference_is_named(tmp_path: Path, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "line1.png"
    file.write_bytes(b"\x89PNG and no more")
    config = config_for(clip_of(scene, tmp_path, 1), tmp_path, trust={"reference": str(file)})
    assert main(["snapshot", "line1", "--config", str(config), "--output", str(tmp_path / "a.png")]) == 1
    assert capsys.readouterr().err == (
        f"edgecls: reference picture {file} is damaged: take it again with `edgecls reference line1`\n"
    )
