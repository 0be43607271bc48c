"""A capture process: reads one live source and hands the newest frame over. `edge.sources.child` is its other side.

It may hang or die in a decoder or a driver; the daemon then kills it and starts another one. It ends when the daemon
does, however that ends and whatever the source is doing.

    thread capture   opens the source, reads it, opens it again
    thread main      gives the newest frame to the daemon when it is wanted, and signs of life
    thread watch     waits for the end of the daemon
"""

import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from edge.clock import SystemClock
from edge.errors import EdgeError, PermanentError
from edge.frame import Frame, Image
from edge.sources.live import Live, make_live
from edge.sources.ring import (
    ORDER_BYTES,
    PACKETS,
    Alive,
    Buffers,
    Captured,
    Lost,
    Message,
    Opened,
    Opening,
    Runs,
    Want,
    decode_order,
    field,
    make_memory,
)

ALIVE_S = 0.3
"""Between two signs of life."""
RETRY_S = (0.1, 0.2, 0.3)
"""Between attempts to open the source; the last one goes on. A source that is back is used within a second."""
GRACE_S = 1.0
"""To close the source when the daemon is gone."""


class DaemonGoneError(Exception):
    """Nobody is there any more to read for."""


class Slots:
    """The newest frame and where it lies. `buffer`, `put` and `clear` belong to `capture`, `give` to `main`.

    Args:
        say: sends a message, with a file descriptor or without.
    """

    def __init__(self, say: Callable[[Message, int | None], None]) -> None:
        self._say = say
        self._changed = threading.Condition()
        self._images: list[Image] = []
        self._lent = -1
        self._waiting: Captured | None = None
        self._dropped = 0

    def buffer(self) -> Image | None:
        """Where to write the next frame: in no slot that somebody reads, or will."""
        with self._changed:
            waiting = self._waiting.slot if self._waiting else -1
            return next((image for n, image in enumerate(self._images) if n not in (self._lent, waiting)), None)

    def put(self, frame: Frame, seq: int) -> None:
        """Hand over `frame`; the one that nobody took is dropped and counted."""
        place = frame.image.ctypes.data
        slot = next((n for n, image in enumerate(self._images) if image.ctypes.data == place), None)
        if slot is None:
            self._move_in(frame.image)
        with self._changed:
            self._drop()
            self._waiting = Captured(seq, slot or 0, frame.captured_at_ns, self._dropped)
            self._changed.notify_all()

    def clear(self) -> None:
        """The source is lost: a frame that nobody took is from before that."""
        with self._changed:
            self._drop()

    def give(self, timeout_s: float) -> bool:
        """Send the newest frame; False when there is none in time. The one before is given back."""
        with self._changed:
            self._lent = -1
            if not self._changed.wait_for(lambda: self._waiting, timeout_s):
                return False
            taken, self._waiting = self._waiting, None
            assert taken is not None  # noqa: S101  # that is what was waited for
            self._lent = taken.slot
            self._say(taken, None)  # not after the message about other slots
            return True

    def _drop(self) -> None:
        self._dropped += self._waiting is not None
        self._waiting = None

    def _move_in(self, image: Image) -> None:
        """The first picture, or one of another size: it needs other slots. It is copied into the first, this once."""
        height, width = image.shape[:2]
        fd, images = make_memory(width, height)
        images[0][...] = image
        try:
            with self._changed:
                self._drop()
                self._images, self._lent = images, -1
                self._say(Buffers(width, height), fd)
        finally:
            os.close(fd)


class Reader:
    """The three threads.

    Args:
        channel: to the daemon.
        source: to be read.
        first_seq: of the first frame.
    """

    def __init__(self, channel: socket.socket, source: Live, first_seq: int) -> None:
        self._channel = channel
        self._source = source
        self._seq = first_seq
        self._slots = Slots(self._say)
        self._stopping = threading.Event()
        self._capture = threading.Thread(target=self._capture_for_ever, name="capture", daemon=True)

    def run(self) -> NoReturn:
        """Until the daemon closes the connection, or says something that makes no sense."""
        self._capture.start()
        threading.Thread(target=self._end_with_the_daemon, name="watch", daemon=True).start()
        with suppress(OSError, DaemonGoneError):
            while isinstance(PACKETS.receive(self._channel), Want):
                while not self._slots.give(ALIVE_S):
                    self._say(Alive())
        self._end()

    def _say(self, message: Message, fd: int | None = None) -> None:
        try:
            socket.send_fds(self._channel, [PACKETS.encode(message)], [] if fd is None else [fd])
        except OSError as error:
            raise DaemonGoneError from error

    def _capture_for_ever(self) -> None:
        failures = 0
        with suppress(DaemonGoneError):
            while not self._stopping.is_set():
                first = self._seq
                try:
                    self._capture_until_lost()
                except EdgeError as error:
                    self._slots.clear()
                    self._say(Lost(isinstance(error, PermanentError), field(str(error))))
                except DaemonGoneError:
                    raise
                except Exception as error:  # noqa: BLE001  # of OpenCV, for one, about a stream it did not foresee
                    traceback.print_exc()  # the daemon logs it
                    self._slots.clear()
                    self._say(Lost(for_good=False, why=field(f"the source failed ({error}): see the log")))
                finally:
                    self._source.close()
                    self._say(Runs(0))
                failures = 0 if self._seq > first else failures + 1
                self._stopping.wait(RETRY_S[min(failures, len(RETRY_S) - 1)])
        self._stopping.set()

    def _capture_until_lost(self) -> None:
        self._say(Opening(int(self._source.open_limit_s * 1000)))
        about = self._source.open()
        self._say(Runs(self._source.group))
        self._say(Opened(field(about.gives), field(about.differs), field(about.identity)))
        while not self._stopping.is_set():
            frame = self._source.read(self._slots.buffer())
            self._slots.put(frame, self._seq)
            self._seq += 1

    def _end_with_the_daemon(self) -> None:
        # Linux can kill a child with its parent (PR_SET_PDEATHSIG), but means the thread that started it: one line's.
        watch = select.poll()
        watch.register(self._channel, select.POLLRDHUP)
        watch.poll()
        self._end()

    def _end(self) -> NoReturn:
        """Close the source if it lets itself be closed, for a camera that is not told may keep its session open."""
        self._stopping.set()
        self._capture.join(GRACE_S)
        if group := self._source.group:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        os._exit(0)


def main(channel_fd: int) -> NoReturn:
    """The whole process.

    Args:
        channel_fd: inherited: the socket to the daemon.
    """
    # Signals for everyone (Ctrl-C, systemd's stop) are for the daemon. Caught and not ignored: what is started here
    # must not ignore them, too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    # FFmpeg's errors on stderr, which the daemon reads. Set to whatever level, OpenCV prints them to a buffered stdout.
    os.environ.pop("OPENCV_FFMPEG_LOGLEVEL", None)
    channel = socket.socket(fileno=channel_fd)
    order = decode_order(channel.recv(ORDER_BYTES))
    source = make_live(order.line, order.kind, dict(order.settings), SystemClock(), order.identity)
    Reader(channel, source, order.first_seq).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
