"""A live source under test: what it delivers, noted as it comes."""

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge.clock import SystemClock
from edge.errors import SourceError
from edge.frame import Frame
from edge.sources import CommandSettings
from edge.sources.child import ChildSource
from edge.sources.live import LiveSettings

WRITER = Path(__file__).parent / "frame_writer.py"


def writer(width: int = 64, height: int = 48, fps: float = 50, mischief: str = "") -> CommandSettings:
    """A command source of numbered frames."""
    words = [sys.executable, "-S", "-E", str(WRITER), str(width), str(height), str(fps), *filter(None, [mischief])]
    return CommandSettings(shlex.join(words), width, height)


def number_of(frame: Frame) -> int:
    """What `frame_writer.py` wrote into it."""
    return int.from_bytes(frame.image[0, 0].tobytes(), "little")


class Watched:
    """Reads a live source as a line does."""

    def __init__(self, settings: LiveSettings, number: Callable[[Frame], int] = number_of) -> None:
        self._number = number
        self.source = ChildSource("line1", settings, SystemClock())
        self.source.open()
        self.frames: list[tuple[int, int]] = []
        """Seq and number of each."""
        self.losses: list[tuple[float, str]] = []
        """When (monotonic) there was no frame any more, and why; another reason counts as another one."""
        self._reason = ""
        self.came: list[float] = []
        """When each frame was there (monotonic)."""

    def read_until(self, done: Callable[[], bool], timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, (len(self.frames), self.frames[-3:], self.losses[-3:])
            try:
                frame = self.source.read()
            except TimeoutError:
                continue
            except SourceError as error:
                if str(error) != self._reason:
                    self.losses.append((time.monotonic(), str(error)))
                    self._reason = str(error)
                continue
            assert frame is not None
            self._reason = ""
            self.came.append(time.monotonic())
            self.frames.append((frame.seq, self._number(frame)))

    def next_frame(self) -> Frame:
        """One frame, which is not noted."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(TimeoutError, SourceError):
                frame = self.source.read()
                assert frame is not None
                return frame
        raise AssertionError("no frame")

    def read_frames(self, count: int, timeout_s: float = 30) -> None:
        wanted = len(self.frames) + count
        self.read_until(lambda: len(self.frames) >= wanted, timeout_s)

    def read_loss(self, timeout_s: float = 30) -> str:
        """Until it says that there is no frame, and why."""
        wanted = len(self.losses) + 1
        self.read_until(lambda: len(self.losses) >= wanted, timeout_s)
        return self.losses[-1][1]


def processes_of(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(entry.name))
    return found


def children_of(pid: int) -> list[int]:
    """The living processes that a process has started."""
    try:
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def wait_until(done: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
