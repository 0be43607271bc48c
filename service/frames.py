"""The frames of a line, from its source to its inspecting thread.

Of a live source that is the newest one. Of a file every one: the thread `capture-LINE` decodes them ahead, unless a
picture is taken because somebody asks for it. The model may be asked about those that wait, too (`edge/ahead.py`).
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from edge.ahead import Ahead
from edge.clock import Clock
from edge.errors import BadFrameError, EdgeError, SourceError, TemporaryError
from edge.frame import Frame, Image
from edge.sources import Source
from edge.sources.mailbox import AHEAD, Mailbox
from service.activity import Activity, Hang

log = logging.getLogger(__name__)

FRAME_TIMEOUT_S = 5.0
SOURCE_HANGS_S = 120.0
"""Cameras and networks have time-outs of their own, some of them long."""
WAITING_HANGS_S = 30.0
"""For the mailbox, which is looked into every few seconds."""


class Frames:
    """Used by the inspecting thread, except where it says otherwise.

    Args:
        line: its name.
        source: opened, read and closed here alone.
        ahead: whether frames may be decoded before they are asked for.
        looks_ahead: asks the model about those, too; None: nobody does.
        clock: the time.
        stop: set when the line is to end.
        inspecting: what the inspecting thread does.
        missing: told why there is no frame, whenever one is waited for in vain.
    """

    def __init__(
        self,
        line: str,
        source: Source,
        *,
        ahead: bool,
        looks_ahead: Ahead | None,
        clock: Clock,
        stop: threading.Event,
        inspecting: Activity,
        missing: Callable[[str], None],
    ) -> None:
        self._line = line
        self._source = source
        self._clock = clock
        self._stop = stop
        self._inspecting = inspecting
        self._missing = missing
        self._capturing = Activity(clock)
        self._looks_ahead = looks_ahead if ahead else None
        # Those that the model sees wait, too.
        self._mailbox = Mailbox(AHEAD + (looks_ahead.at_once if looks_ahead else 0)) if ahead else None
        self._image: Image | None = None

    @property
    def hang(self) -> Hang | None:
        """What the capturing thread does for longer than it may. May be asked by any thread."""
        return self._capturing.hang

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The source is open as long as this lasts.

        Raises:
            EdgeError: it does not open.
        """
        self._inspecting.does("opening the source", SOURCE_HANGS_S)
        self._source.open()
        try:
            if self._mailbox is None:
                yield
            else:
                with self._captured(self._mailbox):
                    yield
        finally:
            self._inspecting.does("closing the source", SOURCE_HANGS_S)
            self._source.close()

    def next(self) -> Frame | None:
        """The next frame; None at the end of the source, or when the line is to end. Its image is valid until the next.

        Raises:
            EdgeError: a frame is bad, or the source failed.
        """
        while not self._stop.is_set():
            try:
                return self._read() if self._mailbox is None else self._take(self._mailbox)
            except SourceError as error:
                self._missing(str(error))
            except TimeoutError:
                continue
        return None

    def _read(self) -> Frame | None:
        self._inspecting.does("reading a frame", SOURCE_HANGS_S)
        frame = self._source.read(self._image)
        self._image = frame.image if frame else None
        return frame

    def _take(self, mailbox: Mailbox) -> Frame | None:
        self._inspecting.does("waiting for a frame", WAITING_HANGS_S)
        try:
            frame = mailbox.take(FRAME_TIMEOUT_S)
        except TimeoutError:
            self._missing(f"the source has delivered no frame for {FRAME_TIMEOUT_S:g} s")
            raise
        if frame is None:
            return None
        if frame.answer is not None:
            return frame
        # A file's frame has waited for us, not we for it: its time begins now.
        return replace(frame, captured_at_ns=self._clock.now_ns())

    @contextmanager
    def _captured(self, mailbox: Mailbox) -> Iterator[None]:
        mailbox.open()
        capture = threading.Thread(target=self._capture, args=(mailbox,), name=f"capture-{self._line}")
        with self._looks_ahead.at_work() if self._looks_ahead else nullcontext():
            capture.start()
            try:
                yield
            finally:
                mailbox.close()
                self._inspecting.rests()  # a read that does not end is the other thread's
                capture.join()

    def _capture(self, mailbox: Mailbox) -> None:
        """Thread."""
        try:
            self._read_into(mailbox)
        finally:
            self._capturing.rests()

    def _read_into(self, mailbox: Mailbox) -> None:
        while self._room_in(mailbox):
            try:
                frame = self._source.read(mailbox.buffer())
            except (BadFrameError, SourceError) as error:
                mailbox.fail(error)
                continue
            except TimeoutError:
                continue
            except EdgeError as error:
                mailbox.fail(error)
                return
            except Exception as error:
                log.exception("line %s: the source failed in an unknown way, please report it", self._line)
                mailbox.fail(TemporaryError(f"the source failed ({error}): see the log"))
                return
            if frame is None:
                mailbox.end()
                return
            if self._looks_ahead is not None:
                frame = replace(frame, answer=self._looks_ahead.begin(frame.image))
            mailbox.put(frame)

    def _room_in(self, mailbox: Mailbox) -> bool:
        self._capturing.rests()  # it waits for the inspecting thread, however long that takes
        there_is = mailbox.room()
        self._capturing.does("reading a frame", SOURCE_HANGS_S)
        return there_is
