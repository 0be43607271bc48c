"""A live source in a capture process of its own: the newest frame, whatever the process and its program do."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from live import Watched, children_of, open_files, processes_of, wait_until, writer

from edge.clock import SystemClock
from edge.errors import SourceError, SourceNotUsableError
from edge.sources import CameraSettings, CommandSettings, GStreamerSettings, RtspSettings
from edge.sources.child import ChildSource
from edge.sources.gstreamer import has_gstreamer, python_with_gstreamer
from edge.sources.live import LiveSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def watch() -> Iterator[Callable[[LiveSettings], Watched]]:
    made: list[Watched] = []

    def make(settings: LiveSettings) -> Watched:
        made.append(Watched(settings))
        return made[-1]

    yield make
    for watched in made:
        watched.source.close()


Watch = Callable[[LiveSettings], Watched]


def test_the_newest_frame_none_twice_and_drops_are_counted(watch: Watch) -> None:
    watched = watch(writer(fps=200))
    watched.read_frames(5)
    time.sleep(0.5)
    before = watched.frames[-1]
    watched.read_frames(5)
    seqs, numbers = zip(*watched.frames, strict=True)
    assert list(seqs) == sorted(set(seqs)), "no number comes again"
    assert list(numbers) == sorted(set(numbers)), "no picture comes again"
    assert watched.frames[5][0] > before[0] + 20, "what came meanwhile is old"
    assert watched.source.dropped == seqs[-1] + 1 - len(seqs)


def test_a_frame_is_not_written_over_while_it_is_looked_at(watch: Watch) -> None:
    watched = watch(writer(fps=500))
    watched.read_frames(2)
    frame = watched.next_frame()
    before = frame.image.copy()
    time.sleep(0.3)
    assert (frame.image == before).all()
    assert not frame.image.flags.writeable


def test_frames_are_stamped_when_they_are_grabbed(watch: Watch) -> None:
    watched = watch(writer(fps=20))
    watched.read_frames(2)
    time.sleep(0.4)
    frame = watched.next_frame()
    waited_ns = time.time_ns() - frame.captured_at_ns
    assert 0 <= waited_ns < 390_000_000, "not when the process was started, nor later than it was"


@pytest.mark.parametrize(
    ("mischief", "frames", "why"),
    [
        ("end", 5, "ended with status 0"),
        ("half", 5, "in the middle of a frame, with 4606 of 9216 bytes: check width, height and pixel_format"),
        ("stall", 5, "writes only a part of a frame any more"),
        ("nothing", 0, "writes nothing any more"),
    ],
)
def test_a_program_that_fails_is_started_again(watch: Watch, mischief: str, frames: int, why: str) -> None:
    watched = watch(writer(mischief=mischief, fps=1000))
    assert why in watched.read_loss()
    first = len(watched.frames)
    assert first <= frames
    if frames:
        watched.read_frames(2)
        numbers = [number for _, number in watched.frames]
        assert set(numbers) <= set(range(5)), "frames begin where frames begin"
        assert watched.frames[first][0] > numbers[first], "it was started again"
        assert watched.frames[first][0] > watched.frames[first - 1][0], "its frames are counted on"


def test_ten_frames_at_once_are_ten_frames(watch: Watch) -> None:
    watched = watch(writer(mischief="burst", fps=100))
    watched.read_frames(20)
    assert all(seq == number for seq, number in watched.frames)


def test_what_it_prints_is_told_without_secrets(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watched = watch(CommandSettings("sh -c 'echo cannot open rtsp://me:secret@cam/x >&2; exit 3'", 8, 8))
    assert watched.read_loss() == "command sh ended with status 3 (cannot open rtsp://…)"
    assert "secret" not in caplog.text


def test_a_program_that_is_not_there(watch: Watch) -> None:
    watched = watch(CommandSettings("no-such-program-here", 8, 8))
    with pytest.raises(SourceNotUsableError, match="command no-such-program-here is not there: install it, or give"):
        watched.read_frames(1)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            CameraSettings(99),
            "camera /dev/video99 is not there: plug it in, or list the cameras with `ls /dev/v4l/by-id`",
        ),
        (CameraSettings("/dev/null"), "camera /dev/null cannot be opened: another program may be using it"),
        (CameraSettings("serial:X1"), "no camera with serial number X1 is there: plug it in"),
        (
            RtspSettings("rtsp://127.0.0.1:9/a?password=secret"),
            "stream of 127.0.0.1: 127.0.0.1 port 9: connection refused",
        ),
        (RtspSettings("rtsp://no-such-host.invalid/a"), "no address is known for no-such-host.invalid"),
    ],
)
def test_a_source_that_is_not_there_is_waited_for(watch: Watch, settings: LiveSettings, why: str) -> None:
    watched = watch(settings)
    assert why in watched.read_loss()
    time.sleep(0.5)
    watched.read_until(lambda: True)
    assert len(watched.losses) == 1, "the reason does not change from attempt to attempt"
    assert "secret" not in watched.losses[0][1]


def test_gstreamer_with_gstreamer(watch: Watch) -> None:
    if not (has_gstreamer() or python_with_gstreamer()):
        pytest.skip("no OpenCV with GStreamer is there; Debian's python3-opencv is one")
    caps = "video/x-raw,format=BGR,width=320,height=240,framerate=25/1"
    watched = watch(GStreamerSettings(f"videotestsrc is-live=true num-buffers=20 ! {caps} ! appsink"))
    watched.read_frames(5)
    assert watched.next_frame().image.shape == (240, 320, 3)
    assert "the GStreamer pipeline " in watched.read_loss()
    watched.read_frames(5)


def test_gstreamer_without_gstreamer(watch: Watch) -> None:
    if has_gstreamer() or python_with_gstreamer():
        pytest.skip("there is an OpenCV with GStreamer")
    watched = watch(GStreamerSettings("videotestsrc ! appsink"))
    with pytest.raises(SourceNotUsableError, match=r"OpenCV that was built with GStreamer.*python3-opencv.*JetPack"):
        watched.read_frames(1)


class Dozing(SystemClock):
    """Of a device that stood still for a while: what it should have heard meanwhile still waits for it."""

    slept_s = 0.0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + int(self.slept_s * 1e9)


@pytest.mark.parametrize("settings", [writer(), CameraSettings("/dev/video99")], ids=["frames", "no camera"])
def test_a_device_that_stood_still_holds_it_against_nobody(settings: LiveSettings) -> None:
    clock = Dozing()
    source = ChildSource("line1", settings, clock)
    source.open()
    pids = set()
    for number in range(40):
        clock.slept_s += 3 * (number > 20)
        with suppress(TimeoutError, SourceError):
            source.read()
        pids.add(source.pid)
    source.close()
    assert len(pids) == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGSTOP])
def test_a_capture_process_that_dies_or_hangs_is_replaced(watch: Watch, number: int) -> None:
    watched = watch(writer())
    watched.read_frames(5)
    pid, last = watched.source.pid, watched.frames[-1][0]
    assert pid is not None
    writers = children_of(pid)
    os.kill(pid, number)
    watched.read_loss()
    watched.read_frames(5)
    assert watched.source.pid != pid
    assert watched.frames[-5][0] > last
    assert not [left for group in writers for left in processes_of(group)], "its program has ended with it"


def test_a_real_program_that_is_killed_and_stopped(watch: Watch) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed; ./install.sh test installs it")
    pictures = "-re -f lavfi -i testsrc2=size=320x240:rate=25 -f rawvideo -pix_fmt nv12 -"
    watched = watch(CommandSettings(f"ffmpeg -nostdin -loglevel error {pictures}", 320, 240, "nv12"))
    watched.read_frames(5)
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        assert watched.source.pid is not None
        [program] = children_of(watched.source.pid)
        os.kill(program, number)
        gone = time.monotonic()
        told = watched.read_loss()
        noticed, last = watched.losses[-1][0] - gone, len(watched.frames)
        watched.read_frames(3)
        print(f"{number.name}: noticed after {noticed:.2f} s, frames after {watched.came[last] - gone:.2f} s: {told}")
        assert not processes_of(program)
    seqs = [seq for seq, _ in watched.frames]
    assert seqs == sorted(set(seqs))


def test_closing_ends_the_program_and_what_it_started(watch: Watch) -> None:
    before = open_files()
    watched = watch(writer(mischief="offspring"))
    watched.read_frames(2)
    pid = watched.source.pid
    assert pid is not None
    [program] = children_of(pid)
    assert len(processes_of(program)) == 2
    watched.source.close()
    wait_until(lambda: not processes_of(program))
    assert not Path(f"/proc/{pid}").exists()
    assert open_files() == before


def test_a_capture_process_ends_with_the_daemon_however_that_ends() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from live import Watched, writer; "
        "w = Watched(writer(mischief='offspring')); w.read_frames(2); print(w.source.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        [program] = children_of(pid)
        daemon.kill()
    wait_until(lambda: not processes_of(pid) and not processes_of(program))


@pytest.mark.parametrize("pixel_format", ["bgr24", "rgb24", "gray8", "yuv420", "nv12", "yuyv"])
def test_pixel_formats(watch: Watch, tmp_path: Path, pixel_format: str) -> None:
    """A blue and a yellow half, in each of the formats."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32], picture[:, 32:] = (200, 60, 40), (40, 200, 220)
    i420 = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    luma, chroma = i420[:32], i420[32:].reshape(2, 16, 32)
    yuyv = np.empty((32, 64, 2), np.uint8)
    yuyv[..., 0] = luma
    yuyv[:, 0::2, 1], yuyv[:, 1::2, 1] = (plane.repeat(2, axis=0) for plane in chroma)
    raw = {
        "bgr24": picture,
        "rgb24": picture[..., ::-1],
        "gray8": cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY),
        "yuv420": i420,
        "nv12": np.concatenate((luma, chroma.transpose(1, 2, 0).reshape(16, 64))),
        "yuyv": yuyv,
    }[pixel_format]
    (tmp_path / "frame").write_bytes(np.ascontiguousarray(raw).tobytes())
    command = f"sh -c 'while cat {tmp_path}/frame; do sleep 0.02; done'"
    watched = watch(CommandSettings(command, 64, 32, pixel_format))  # type: ignore[arg-type]  # a Literal, from a parameter
    watched.read_frames(1)
    frame = watched.next_frame()
    expected = picture if pixel_format != "gray8" else raw[..., None].repeat(3, axis=2)
    assert np.abs(frame.image.astype(int) - expected)[:, [4, 60]].max() <= 4
