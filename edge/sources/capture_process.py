"""One capture process, from its start to its end, as the daemon sees it."""

import collections
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from edge.errors import SourceError
from edge.packets import ProtocolError
from edge.sources.ring import PACKETS, Message, Order, Runs, Want

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
_START = f"import sys; sys.path.insert({{place}}, {str(_ROOT)!r}); from edge.sources.reader import main; main({{fd}})"
_END_S = 1.5
_PRINTED_BYTES = 65536
_LOGGED_LINES = 20
_SECRET = re.compile(r"\b(rtsps?)://\S+")
_ADDRESS = re.compile(r"^\[[^\]]*\] *")
"""FFmpeg begins a line with the name of its part and where that lies in memory."""


class ProcessLostError(Exception):
    """The process ended or made no sense, which its text says; it does not run any more."""


class CaptureProcess:
    """Used by one thread.

    Args:
        order: what it is to do.
        python: runs it; None: the one that runs us.

    Raises:
        SourceError: no process can be started.
    """

    def __init__(self, order: Order, python: str | None = None) -> None:
        self._line = order.line
        self._group = 0
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Another Python has its own OpenCV, which must not be hidden by ours beside this file.
        code = _START.format(place=0 if python is None else "len(sys.path)", fd=theirs.fileno())
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  # this very program
                    [python or sys.executable, "-I", "-B", "-c", code, f"edgecls capture {order.line}"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=_environment(),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                self._channel.close()
                raise SourceError(f"no capture process can be started ({error}): see what this device runs") from error
        assert self._process.stderr is not None  # noqa: S101  # it is a pipe
        self._printing = self._process.stderr.fileno()
        os.set_blocking(self._printing, False)
        self._printed: collections.deque[str] = collections.deque(maxlen=5)
        self._lines = 0
        self._poll = select.poll()
        self._poll.register(self._channel, select.POLLIN)
        self._poll.register(self._printing, select.POLLIN)
        self._channel.send(order.encode())

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def want(self) -> None:
        """Ask for the newest frame.

        Raises:
            ProcessLostError: it has ended.
        """
        try:
            PACKETS.send(self._channel, Want())
        except OSError as error:
            raise self.lost() from error

    def next(self, timeout_s: float) -> tuple[Message, int | None] | None:
        """What it says next, and the file descriptor that came with it, which is the caller's; None: nothing in time.

        Raises:
            ProcessLostError: it has ended, or makes no sense.
        """
        for fd, _ in self._poll.poll(max(0.0, timeout_s) * 1000):
            if fd == self._printing:
                self._take_in_what_it_prints()
                continue
            try:
                packet, fds, _, _ = socket.recv_fds(self._channel, PACKETS.longest + 1, 1)
            except OSError as error:
                raise self.lost() from error
            if not packet:
                raise self.lost()
            try:
                message: Message = PACKETS.decode(packet)
            except ProtocolError as error:
                for extra in fds:
                    os.close(extra)
                raise self.lost(f"made no sense ({error})") from error
            if isinstance(message, Runs):
                self._group = message.group
            return message, fds[0] if fds else None
        return None

    def said(self) -> str:
        """The last line that it printed since it was asked the last time, or nothing."""
        if not self._process.stderr.closed:  # type: ignore[union-attr]  # it is a pipe
            self._take_in_what_it_prints()
        line = self._printed[-1] if self._printed else ""
        self._printed.clear()
        return line

    def end(self) -> None:
        """Let it close its source and end; kill it when it does not."""
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._kill()

    def lost(self, what: str | None = None) -> ProcessLostError:
        """End it at once, and say what happened; without `what` it has ended by itself."""
        if what is None:
            try:
                status = self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                what = "closed its connection"
            else:
                what = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._kill()
        self._channel.close()
        return ProcessLostError(f"{what} ({line})" if (line := self.said()) else what)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._group:  # what it has started works on, and may have the camera
            with suppress(OSError):
                os.killpg(self._group, signal.SIGKILL)
            self._group = 0
        self._take_in_what_it_prints()
        assert self._process.stderr is not None  # noqa: S101  # it is a pipe
        self._process.stderr.close()

    def _take_in_what_it_prints(self) -> None:
        """Everything that FFmpeg, a driver or the command print, a few lines of it for the log; no secrets."""
        try:
            text = os.read(self._printing, _PRINTED_BYTES)
        except (BlockingIOError, OSError):
            return
        if not text:
            with suppress(KeyError):
                self._poll.unregister(self._printing)
        for line in text.decode("utf-8", "replace").splitlines():
            if not (clean := _ADDRESS.sub("", _SECRET.sub(r"\1://…", line)).strip()[:300]):
                continue
            self._printed.append(clean)
            self._lines += 1
            if self._lines <= _LOGGED_LINES:
                log.info("line %s: its capture process says: %s", self._line, clean, extra={"line": self._line})


def _environment() -> dict[str, str]:
    """One thread for everything but decoding: a capture process does not calculate, and is to stay small."""
    few = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return {
        **os.environ,
        **few,
        "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "1",
    }
