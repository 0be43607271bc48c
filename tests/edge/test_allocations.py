"""Once a line runs, nothing frame-sized is allocated per frame, neither by Python nor beneath it: counted in C."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

HERE = Path(__file__).parent
FRAMES = 90


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or not sys.platform.startswith("linux"):
        pytest.skip("counting needs gcc and glibc; ./install.sh test installs gcc")
    library = tmp_path_factory.mktemp("counter") / "allocations.so"
    command = ["gcc", "-shared", "-fPIC", "-O2", "-fno-builtin", "-o", str(library), str(HERE / "allocations.c")]
    subprocess.run(command, check=True, timeout=60)
    return library


def film(path: Path, height: int, *, stands: bool = False) -> Path:
    """Parts on a belt in small packets: what the container hands to the decoder is allocated per frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 50, (1280, height))
    for number in range(FRAMES):
        image = np.full((height, 1280, 3), 60, np.uint8)
        place = 640 if stands else number * 40 % 1600 - 150
        if number > 3:
            cv2.circle(image, (place, height // 2), 120, (200, 190, 180), -1)
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("video") / "belt.mp4", 720)


def count(counter: Path, *words: object, height: int = 720) -> int:
    return look(counter, *words, height=height)[0]


def look(counter: Path, *words: object, height: int = 720) -> tuple[int, int]:
    """How many large pieces were allocated, and how many pictures of rejects were taken."""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(counter),
        "PYTHONPATH": str(HERE.parent.parent),
        "OMP_NUM_THREADS": "1",
        "PYTHONMALLOC": "malloc",  # small objects come one by one then, not in pieces of 1 MiB now and again
    }
    command = [sys.executable, str(HERE / "frame_path.py"), *map(str, words), str(height)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout), int(run.stderr.split()[-1])


@pytest.mark.parametrize(
    "way", ["onnxruntime frame file", "onnxruntime part live", "openvino part file", "openvino frame live"]
)
def test_nothing_is_allocated(counter: Path, video: Path, surface_demo: Path, way: str) -> None:
    assert count(counter, video, surface_demo, *way.split(), "nothing") == 0


@pytest.mark.parametrize("stands", [False, True])
def test_nothing_is_allocated_at_4_to_3(counter: Path, surface_demo: Path, tmp_path: Path, stands: bool) -> None:
    """One channel of the small picture is above the limit there, as long as the travel is not known."""
    path = film(tmp_path / "belt.mp4", 960, stands=stands)
    assert count(counter, path, surface_demo, "onnxruntime", "part", "file", "nothing", height=960) == 0


@pytest.mark.parametrize("way", ["onnxruntime frame live", "onnxruntime part file"])
def test_pictures_of_rejects_lie_in_buffers_that_are_used_again(
    counter: Path, video: Path, surface_demo: Path, way: str
) -> None:
    allocated, taken = look(counter, video, surface_demo, *way.split(), "stills")
    assert taken > 0
    assert allocated == 0


@pytest.mark.parametrize("place", ["source", "roi", "preprocess", "look"])
def test_a_single_copy_would_be_noticed(counter: Path, video: Path, surface_demo: Path, place: str) -> None:
    assert count(counter, video, surface_demo, "onnxruntime", "frame", "file", place) >= 35
