"""Video files and streams with flipped bits, missing pieces and other people's pieces: frames or one clear message."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from edge.clock import SystemClock
from edge.sources import VideoSettings, make_source

FORMATS = {"h264": "libx264", "mjpeg.avi": "mjpeg", "mp4": "libx264"}
FRAMES = 24
READ = """
import sys
from pathlib import Path
from edge.clock import SystemClock
from edge.errors import EdgeError
from edge.sources import VideoSettings, make_source
for name in sys.stdin:
    source = make_source("line1", VideoSettings(Path(name.strip()), pace="asap"), SystemClock())
    frames, said = 0, ""
    try:
        source.open()
        while (frame := source.read()) is not None:
            frames += 1
            assert frame.image.ndim == 3 and frame.image.size and frame.seq == frames - 1
            assert frames < 1000
    except EdgeError as error:
        said = str(error)
    source.close()
    print(frames, said, flush=True)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One of each format."""
    folder = tmp_path_factory.mktemp("good")
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed; ./install.sh test installs it")
    noise = np.random.default_rng(6).integers(0, 256, (FRAMES, 12, 16, 3), np.uint8)
    raw = b"".join(cv2.resize(frame, (160, 120)).tobytes() for frame in noise)
    made = {}
    for suffix, codec in FORMATS.items():
        path = folder / f"good.{suffix}"
        words = ["ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", "160x120", "-i", "-"]
        subprocess.run([*words, "-c:v", codec, "-g", "8", "-pix_fmt", "yuvj420p", str(path)], input=raw, check=True)
        made[suffix] = path.read_bytes()
    return made


def damage(data: bytes, chance: random.Random) -> bytes:
    hurt = bytearray(data)
    kind = chance.choice(("flip", "flip", "cut", "drop", "swap", "zero", "repeat", "head"))
    size = len(hurt)
    start = chance.randrange(size)
    length = chance.randrange(1, max(2, size // 8))
    if kind == "flip":
        for _ in range(chance.choice((1, 10, 100, 1000))):
            hurt[chance.randrange(size)] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del hurt[start:]
    elif kind == "drop":
        del hurt[start : start + length]
    elif kind == "swap":
        other = chance.randrange(size)
        piece = hurt[other : other + length]
        hurt[start : start + len(piece)] = piece
    elif kind == "zero":
        hurt[start : start + length] = bytes(len(hurt[start : start + length]))
    elif kind == "repeat":
        hurt[start:start] = hurt[start : start + length] * 10
    else:  # sizes, time stamps and tables are at the ends
        for place in (*range(min(200, size)), *range(max(0, size - 2000), size)):
            if chance.random() < 0.05:
                hurt[place] = chance.randrange(256)
    return bytes(hurt)


def hold(good: dict[str, bytes], folder: Path, count: int, seed: int) -> None:
    """Each is read by a process that lives through all of them."""
    chance = random.Random(seed)
    reader = subprocess.Popen(
        [sys.executable, "-c", READ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    whole = partly = refused = 0
    for number in range(count):
        suffix = list(FORMATS)[number % len(FORMATS)]
        path = folder / f"{number}.{suffix}"
        path.write_bytes(damage(good[suffix], chance))
        reader.stdin.write(f"{path}\n")
        reader.stdin.flush()
        answer = reader.stdout.readline()
        assert answer, f"seed {seed}, file {number} ({suffix}) ended it: {reader.communicate()}"
        frames, _, said = answer.strip().partition(" ")
        assert int(frames) or f"video {path} " in said, answer
        assert not said or "convert it, for example with" in said, answer
        refused += not int(frames)
        whole += int(frames) == FRAMES
        partly += 0 < int(frames) < FRAMES
        path.unlink()
    reader.stdin.close()
    assert reader.wait(30) == 0
    reader.stdout.close()
    print(f"{count} files: {whole} with all frames, {partly} with some, {refused} refused")


def test_the_good_ones_are_good(good: dict[str, bytes], tmp_path: Path) -> None:
    for suffix, data in good.items():
        (tmp_path / f"a.{suffix}").write_bytes(data)
    names = "".join(f"{tmp_path}/a.{suffix}\n" for suffix in good)
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, input=names, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(FRAMES)] * len(good)


def test_a_size_that_changes_in_the_middle(good: dict[str, bytes], tmp_path: Path) -> None:
    """Two streams, one behind the other, of 160x120 and of 96x64: the second is shown as large as the first."""
    (tmp_path / "one.h264").write_bytes(good["h264"])
    scale = ["ffmpeg", "-loglevel", "error", "-i", str(tmp_path / "one.h264"), "-vf", "scale=96:64"]
    subprocess.run([*scale, "-c:v", "libx264", str(tmp_path / "two.h264")], check=True)
    both = tmp_path / "both.h264"
    both.write_bytes(good["h264"] + (tmp_path / "two.h264").read_bytes())
    source = make_source("line1", VideoSettings(both, pace="asap"), SystemClock())
    source.open()
    seen: list[tuple[int, ...]] = []
    while (frame := source.read()) is not None:
        seen.append(frame.image.shape)
    source.close()
    assert seen == [(120, 160, 3)] * 2 * FRAMES


def test_damaged_files(good: dict[str, bytes], tmp_path: Path) -> None:
    hold(good, tmp_path, 51, seed=6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_thousands_of_damaged_files(good: dict[str, bytes], tmp_path: Path) -> None:
    hold(good, tmp_path, 1500, seed=7)
