"""A whole daemon with live sources that are killed, stopped and started again, a hundred times; a capture process that
hangs or dies, and another line beside it. What each took is printed (`-s`); what is wanted stands beside it.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest
from conftest import Mosquitto
from live import children_of, processes_of, wait_until
from network_camera import NetworkCamera, needs_rtsp_server
from number_reader import number_read
from watched_daemon import WatchedDaemon, figures, line, no_frame_twice

from edge.frame import Image

TESTS = Path(__file__).resolve().parents[1]
SIZES = ((640, 480), (1280, 720), (352, 288))
NOTICED_S, USED_S, BACK_S = 2.0, 1.0, 3.0
"""What is wanted: of a loss, of a return, and of a capture process that fails."""
TOO_LONG_S = 10.0
"""What no busy machine explains any more."""
HANG = """
import ctypes, os, sys, time
tid = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
    if libc.ptrace(request, tid, None, None):
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(tid, 0x40000000)  # __WALL: it stands still
print("hangs", flush=True)
os.waitpid(tid, 0x40000000)  # it was killed
"""


@pytest.fixture
def photograph(tiles: Path) -> Image:
    image = cv2.imread(str(next(tiles.rglob("*.jpg"))))
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.fixture
def camera(tmp_path: Path, photograph: Image) -> Iterator[NetworkCamera]:
    needs_rtsp_server()
    camera = NetworkCamera(None, tmp_path, photograph)
    yield camera
    camera.close()


class Figures:
    """Seconds of every cycle, and what the daemon took after every tenth."""

    def __init__(self) -> None:
        self.noticed: list[float] = []
        self.used: list[float] = []
        self.taken: list[tuple[int, int, int, int]] = []

    def judge(self) -> None:
        print()
        print(figures("loss noticed", self.noticed, NOTICED_S))
        print(figures("return used", self.used, USED_S))
        print("open files and KiB of the daemon, and of the capture process, every ten cycles:", self.taken)
        assert median(self.noticed) < NOTICED_S
        assert median(self.used) < USED_S
        assert max(self.noticed + self.used) < TOO_LONG_S
        files, memory, _, _ = zip(*self.taken, strict=True)
        assert len(set(files)) == 1
        assert memory[-1] <= memory[0] * 1.03


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_network_camera_lost_a_hundred_times(camera: NetworkCamera, tmp_path: Path, mosquitto: Mosquitto) -> None:
    found, chance = Figures(), random.Random(6)
    camera.start(*SIZES[0])
    daemon = WatchedDaemon(tmp_path, mosquitto.port, [line("line1", {"rtsp": camera.address})])
    try:
        daemon.inspects("line1")
        pid = daemon.capture_of("line1")
        for number in range(1, 101):
            is_tenth = number % 10 == 0  # memory is held against that with pictures of the same size
            how = "kill" if is_tenth else chance.choice(("kill", "stop", "stop and kill"))
            size = SIZES[0] if is_tenth else chance.choice(SIZES)
            found.noticed.append(daemon.loses("line1", camera.kill if how == "kill" else camera.stop))
            time.sleep(chance.uniform(0, 0.3))
            back_at = time.time()
            if how == "stop":
                camera.go_on()
            else:
                if how != "kill":
                    camera.kill()
                camera.start(*size)
            used_at = daemon.finds("line1", back_at)
            wait_until(lambda: camera.answered > 0)  # the test may be answered after the daemon
            found.used.append(max(0.0, used_at - camera.answered))
            if is_tenth:
                daemon.inspects("line1", 10)
                found.taken.append(daemon.takes("line1"))
        assert daemon.capture_of("line1") == pid, "the capture process lives through all of it"
    finally:
        daemon.close()
    no_frame_twice(daemon.decisions("line1"))
    found.judge()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_program_lost_a_hundred_times(photograph: Image, tmp_path: Path, mosquitto: Mosquitto) -> None:
    """ffmpeg, killed, stopped, or without the picture that it needs."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed; ./install.sh test installs it")
    found, chance = Figures(), random.Random(6)
    picture, away = tmp_path / "photograph.png", tmp_path / "away.png"
    cv2.imwrite(str(picture), photograph)
    command = f"sh {TESTS}/numbered_ffmpeg.sh {picture} 640 480 15"
    source = {"command": command, "width": 640, "height": 480, "pixel_format": "nv12"}
    daemon = WatchedDaemon(tmp_path, mosquitto.port, [line("line1", source)])

    def send(number: int) -> float:
        [program] = children_of(daemon.capture_of("line1"))
        os.kill(program, number)
        return time.monotonic()

    try:
        daemon.inspects("line1")
        for number in range(1, 101):
            how = "kill" if number % 10 == 0 else chance.choice(("kill", "stop", "away"))
            if how == "away":
                picture.rename(away)
            back_at, wall = time.monotonic(), time.time()
            end = partial(send, signal.SIGSTOP if how == "stop" else signal.SIGKILL)
            found.noticed.append(daemon.loses("line1", end))
            if how == "away":
                time.sleep(chance.uniform(0, 1.5))
                away.rename(picture)
                back_at, wall = time.monotonic(), time.time()
            elif how == "stop":
                back_at = time.monotonic()  # it is not back: another one is to take its place
            used_at = daemon.finds("line1", wall + (0 if how == "away" else 0.2))
            found.used.append(used_at - back_at)
            if number % 10 == 0:
                daemon.inspects("line1", 10)
                found.taken.append(daemon.takes("line1"))
    finally:
        daemon.close()
    no_frame_twice(daemon.decisions("line1"))
    found.judge()


def stand_still(pid: int) -> "subprocess.Popen[str]":
    """Let the thread that reads hang, and it alone, as in a driver."""
    threads = sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    helper = subprocess.Popen(
        [sys.executable, "-c", HANG, str(threads[1])], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert helper.stdout is not None
    if helper.stdout.readline() != "hangs\n":
        pytest.skip(f"no thread can be made to stand still here: {helper.communicate()[1]}")
    return helper


def have_ended(groups: list[int]) -> bool:
    return not [left for group in groups for left in processes_of(group)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_capture_process_that_hangs_or_dies_harms_no_other_line(
    photograph: Image, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed; ./install.sh test installs it")
    sources = {}
    for name in ("hurt", "sound"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), photograph)
        command = f"sh {TESTS}/numbered_ffmpeg.sh {tmp_path}/{name}.png 640 480 5"
        sources[name] = {"command": command, "width": 640, "height": 480, "pixel_format": "nv12"}
    daemon = WatchedDaemon(tmp_path, mosquitto.port, [line(name, source) for name, source in sources.items()])
    back: dict[str, list[float]] = {"SIGSEGV": [], "SIGSTOP": [], "its reading thread stands still": []}
    helpers = []
    try:
        daemon.inspects("hurt")
        daemon.inspects("sound")
        for number in range(9):
            pid = daemon.capture_of("hurt")
            programs = children_of(pid)
            what = list(back)[number % 3]
            hurt_at, wall = time.monotonic(), time.time()
            if what.startswith("SIG"):
                os.kill(pid, signal.Signals[what])
            else:
                helpers.append(stand_still(pid))
            back[what].append(daemon.finds("hurt", wall + 0.5) - hurt_at)
            assert daemon.capture_of("hurt") != pid
            wait_until(partial(have_ended, programs))
    finally:
        daemon.close()
    for helper in helpers:
        helper.communicate(timeout=10)
    print()
    for what, seconds in back.items():
        print(figures(f"{what}: back", seconds, BACK_S))
    decisions = daemon.decisions("sound")
    seqs = [d["frame"]["seq"] for d in decisions]
    assert seqs == list(range(len(seqs)))
    numbers = [number_read(d) for d in decisions]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    no_frame_twice(daemon.decisions("hurt"))
    states = [state for _, topic, state in daemon.witness.came if topic == "factory/sound/state"]
    assert {s["reason"] for s in states if s["state"] != "inspecting"} == {"starting", "stopped"}
    assert max(max(seconds) for seconds in back.values()) < TOO_LONG_S
