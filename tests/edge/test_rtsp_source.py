"""A stream of a real RTSP server that is killed, stopped and started again."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from damaging_proxy import DAMAGES, DamagingProxy
from live import Watched, open_files
from network_camera import NetworkCamera, needs_rtsp_server, number_in

from edge.sources import RtspSettings

SIZES = ((640, 480), (1280, 720), (352, 288))


@pytest.fixture
def camera(tmp_path: Path, free_port: int) -> Iterator[NetworkCamera]:
    needs_rtsp_server()
    camera = NetworkCamera(free_port, tmp_path)
    yield camera
    camera.close()


@pytest.fixture
def watch() -> Iterator[Callable[[RtspSettings], Watched]]:
    made: list[Watched] = []

    def make(settings: RtspSettings) -> Watched:
        made.append(Watched(settings, number_in))
        return made[-1]

    yield make
    for watched in made:
        watched.source.close()


Watch = Callable[[RtspSettings], Watched]


@dataclass
class Times:
    """Seconds, of every cycle."""

    noticed: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(
            f"{name}: median {sorted(times)[len(times) // 2]:.2f} s, longest {max(times):.2f} s"
            for name, times in (("loss noticed", self.noticed), ("return used", self.used))
        )


def cycle(camera: NetworkCamera, watched: Watched, how: str, size: tuple[int, int], times: Times) -> None:
    """Lose it and find it again."""
    gone = camera.kill() if how == "kill" else camera.stop()
    losses = len(watched.losses)
    watched.read_until(lambda: len(watched.losses) > losses)
    times.noticed.append(watched.losses[losses][0] - gone)
    last = len(watched.frames)
    if how == "kill":
        camera.start(*size)
    elif how == "stop":
        camera.go_on()
    else:
        camera.kill()
        camera.start(*size)
    watched.read_until(lambda: len(watched.frames) > last + 2)
    times.used.append(watched.came[last] - camera.answered)


def no_picture_came_twice(watched: Watched) -> None:
    for row in zip(*watched.frames, strict=True):  # of the daemon and of the camera
        wrong = [(one, other) for one, other in pairwise(row) if one >= other]
        assert not wrong, wrong[:5]


def test_a_server_that_is_killed_stopped_and_replaced(camera: NetworkCamera, watch: Watch) -> None:
    times = Times()
    camera.start()
    watched = watch(RtspSettings(camera.address))
    watched.read_frames(5)
    pid, files = watched.source.pid, open_files()
    for how, size in (("kill", SIZES[1]), ("stop", SIZES[1]), ("stop and kill", SIZES[2])):
        cycle(camera, watched, how, size, times)
    print(times)
    no_picture_came_twice(watched)
    assert watched.next_frame().image.shape == (288, 352, 3)
    assert watched.source.pid == pid, "the capture process lives through all of it"
    gc.collect()
    assert open_files() <= files


def test_the_backlog_is_not_shown(camera: NetworkCamera, watch: Watch) -> None:
    """While FFmpeg finds out what it is, pictures collect."""
    camera.start(fps=30)
    first = watch(RtspSettings(camera.address))
    first.read_frames(3)
    second = watch(RtspSettings(camera.address, "udp"))
    second.read_frames(1)
    seen = first.next_frame()
    assert number_in(seen) - second.frames[0][1] <= 8


def test_the_password_is_taken_from_its_file_and_told_to_nobody(
    tmp_path: Path, free_port: int, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    needs_rtsp_server()
    caplog.set_level("DEBUG")
    camera = NetworkCamera(free_port, tmp_path, login=("inspector", "s3cr/t@:"))
    camera.start()
    try:
        file = tmp_path / "password"
        file.write_text("wr0ng\n")
        watched = watch(RtspSettings(camera.address, "tcp", "inspector", str(file)))
        watched.read_until(lambda: any("401" in reason for _, reason in watched.losses))
        file.write_text("s3cr/t@:\n")
        watched.read_frames(2)
    finally:
        camera.close()
    told = caplog.text + "".join(reason for _, reason in watched.losses)
    assert not [secret for secret in ("s3cr", "wr0ng", "inspector") if secret in told]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_stream_gives_frames_or_a_reason_and_a_good_one_is_used_again(
    camera: NetworkCamera, watch: Watch, damage: str
) -> None:
    camera.start(fps=25)
    proxy = DamagingProxy(camera.port, seed=6)
    watched = watch(RtspSettings(f"rtsp://127.0.0.1:{proxy.port}/cam"))
    try:
        watched.read_frames(3)
        proxy.damage = damage
        watched.read_until(lambda: proxy.damaged > 200)
        proxy.damage = None
        watched.read_frames(20)
    finally:
        proxy.close()
    seqs = [seq for seq, _ in watched.frames]
    assert seqs == sorted(set(seqs))
    assert all(reason for _, reason in watched.losses)
