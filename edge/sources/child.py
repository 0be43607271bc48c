"""A live source as the daemon sees it: the newest frame of a capture process, which is replaced when it fails.

Nothing here waits for the source: `read` returns within `TURN_S`, with a frame or with the reason why there is none.
"""

import dataclasses
import logging
import math
import os

from edge.clock import Clock
from edge.errors import SourceError, SourceNotUsableError
from edge.frame import Frame, Image
from edge.packets import ProtocolError, text_of
from edge.sources.capture_process import CaptureProcess, ProcessLostError
from edge.sources.gstreamer import GStreamerSettings, python_with_gstreamer
from edge.sources.live import LiveSettings, kind_of
from edge.sources.ring import Alive, Buffers, Captured, Lost, Message, Opened, Opening, Order, Runs, map_memory

log = logging.getLogger(__name__)

TURN_S = 0.25
SILENT_S = 1.5
"""A capture process that says nothing for so long hangs; it says something every 0.3 s when it does not."""
START_S = 20.0
"""Until its first word: importing OpenCV takes a third of a second here, some seconds on a small device."""
CLOSING_S = 2.0
LATE_S = 0.4
"""After the time in which the source should have delivered a frame or an error."""
AGAIN_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before another process takes the place of one that failed; from the second on when no frame has come meanwhile."""


class ChildSource:
    """A live source in a capture process of its own.

    Args:
        line: its name.
        settings: of the source.
        clock: the time.
    """

    live = True
    on_demand = False
    ahead = False

    def __init__(self, line: str, settings: LiveSettings, clock: Clock) -> None:
        self._line = line
        self._settings = settings
        self._clock = clock
        self._process: CaptureProcess | None = None
        self._images: list[Image] = []
        self._next_seq = 0
        self._identity = ""
        self._gives = ""
        self._dropped_before = 0
        self.dropped = 0
        self._why = ""
        """Why there are no frames; nothing as long as there are, or may be."""
        self._told = ""
        self._failures = 0
        self._start_at = 0.0
        self._is_wanted = False
        """A frame has been asked for and has not come."""
        self._silent_at = self._late_at = self._lost_at = math.inf
        self._late = ""
        self._listened_until = 0.0

    @property
    def pid(self) -> int | None:
        """Of the capture process."""
        return self._process.pid if self._process is not None else None

    def open(self) -> None:
        self._failures = 0
        self._start_at = 0.0

    def read(self, into: Image | None = None) -> Frame | None:  # noqa: ARG002  # frames lie in the shared memory
        """The newest frame, as soon as there is one that was not delivered yet.

        Its image is valid until the next call.

        Raises:
            SourceError: there is none, and why. It is looked for; ask again.
            SourceNotUsableError: there will be none before somebody changes something.
            TimeoutError: there is none yet. Ask again.
        """
        now = self._now()
        turn_ends = now + TURN_S
        if not self._is_wanted:
            self._begin_to_wait(now)
        while True:
            now = self._now()
            self._forgive(now)
            if now >= self._lost_at and not self._why:
                self._why = f"the source has delivered no frame for {self._settings.lost_after_s:g} s"
            if now >= turn_ends or self._why != self._told:
                break
            try:
                if (frame := self._step(now, turn_ends)) is not None:
                    return frame
            except ProcessLostError as error:
                self._replace(f"its capture process {error}")
        self._told = self._why
        if self._why:
            raise SourceError(self._why)
        raise TimeoutError

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()
        self._forget()

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def _step(self, now: float, until: float) -> Frame | None:
        if self._process is None:
            if now < self._start_at:
                self._clock.sleep(min(self._start_at, until) - now)
                return None
            self._start()
        process = self._process
        assert process is not None  # noqa: S101  # it has just been started
        if now >= min(self._silent_at, self._late_at):
            what = "gives no sign of life" if now >= self._silent_at else self._late
            raise process.lost(f"hangs: it {what}")
        if not self._is_wanted:
            process.want()
            self._is_wanted = True
        soonest = min(until, self._silent_at, self._late_at, math.inf if self._why else self._lost_at)
        heard = process.next(soonest - now + 0.001)  # poll counts whole milliseconds, rounded off
        self._listened_until = min(self._now(), soonest)
        return self._hear(process, *heard) if heard is not None else None

    def _forgive(self, now: float) -> None:
        """What passed while we did not listen is nobody's delay: this device was busy, or stood still altogether."""
        unheard, self._listened_until = now - self._listened_until, now
        self._silent_at += unheard
        self._late_at += unheard
        self._lost_at += unheard

    def _begin_to_wait(self, now: float) -> None:
        """The time from the last frame until now was ours: nobody is late."""
        self._listened_until = now
        if self._process is None:
            return
        self._silent_at = now + SILENT_S
        if self._lost_at < math.inf:
            self._deliver_by(now)

    def _deliver_by(self, now: float) -> None:
        self._lost_at = now + self._settings.lost_after_s
        self._late_at, self._late = self._lost_at + LATE_S, "is stuck reading"

    def _start(self) -> None:
        order = Order(
            self._line, kind_of(self._settings), dataclasses.asdict(self._settings), self._next_seq, self._identity
        )
        python = python_with_gstreamer() if isinstance(self._settings, GStreamerSettings) else None
        self._process = CaptureProcess(order, python)
        self._silent_at, self._late_at, self._late = self._now() + START_S, math.inf, ""

    def _hear(self, process: CaptureProcess, message: Message, fd: int | None) -> Frame | None:
        try:
            now = self._now()
            self._silent_at = now + SILENT_S
            match message:
                case Captured():
                    return self._frame(process, message, now)
                case Buffers(width, height) if fd is not None:
                    self._images = map_memory(fd, width, height)
                case Opening(limit_ms):
                    self._lost_at = math.inf
                    self._late_at, self._late = now + limit_ms / 1000 + LATE_S, "is stuck opening the source"
                case Opened():
                    self._deliver_by(now)
                    self._tell(message)
                case Lost():
                    self._lost_at = math.inf
                    self._late_at, self._late = now + CLOSING_S, "is stuck closing the source"
                    self._lose(process, message)
                case Alive() | Runs():
                    pass
                case _:
                    raise process.lost(f"made no sense ({message})")
        except ProtocolError as error:
            raise process.lost(f"made no sense ({error})") from error
        finally:
            if fd is not None:
                os.close(fd)
        return None

    def _frame(self, process: CaptureProcess, message: Captured, now: float) -> Frame:
        if message.slot >= len(self._images) or message.seq < self._next_seq or not self._is_wanted:
            raise process.lost(f"made no sense ({message})")
        self._is_wanted = False
        self._why, self._told, self._failures = "", "", 0
        self._deliver_by(now)
        self._next_seq = message.seq + 1
        self.dropped = self._dropped_before + message.dropped
        return Frame(self._line, message.seq, self._images[message.slot], message.captured_at_ns)

    def _tell(self, opened: Opened) -> None:
        """What it gives is logged when it is new, and what is not as asked."""
        gives, differs = text_of(opened.gives), text_of(opened.differs)
        self._identity = text_of(opened.identity)
        if f"{gives}{differs}" == self._gives:
            return
        self._gives = f"{gives}{differs}"
        log.info("line %s: the source gives %s", self._line, gives, extra={"line": self._line})
        if differs:
            text = "line %s: the source does not do what it was asked: %s"
            log.warning(text, self._line, differs, extra={"line": self._line})

    def _lose(self, process: CaptureProcess, lost: Lost) -> None:
        why, said = text_of(lost.why), process.said()
        self._why = f"{why} ({said})" if said else why
        if lost.for_good:
            raise SourceNotUsableError(self._why)

    def _replace(self, why: str) -> None:
        """A process that has failed; the next one takes its place at once, or later when it failed before."""
        log.warning("line %s: %s; another one takes its place", self._line, why, extra={"line": self._line})
        self._why = why
        self._process = None
        self._forget()
        self._start_at = self._now() + AGAIN_S[min(self._failures, len(AGAIN_S) - 1)]
        self._failures += 1

    def _forget(self) -> None:
        """What was the process's own."""
        self._images = []
        self._is_wanted = False
        self._dropped_before = self.dropped
        self._silent_at = self._late_at = self._lost_at = math.inf
