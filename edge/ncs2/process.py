"""The daemon's side of one worker, from its start to its end."""

import collections
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from edge.ncs2.protocol import Done, Failed, Hello, Message, Reason, Run, receive, send
from edge.packets import ProtocolError, text_of

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-E", "-S", "-m", "edge.ncs2.worker")
"""Without `site`: the worker needs the standard library alone."""
_LOGGED_LINES = 100
_END_S = 3.0


class WorkerFailedError(Exception):
    """The worker said why it failed.

    Attributes:
        reason: which kind of failure.
        text: OpenVINO's own words, maybe none.
        printed: the last line that it printed, or nothing.
    """

    def __init__(self, reason: Reason, text: str, printed: str) -> None:
        super().__init__(text)
        self.reason, self.text, self.printed = reason, text, printed


class WorkerLostError(Exception):
    """The worker ended, hung or made no sense, which its text says; it does not run any more."""


class WorkerProcess:
    """A worker. Its owner sees to it that one thread at a time uses it.

    Args:
        library: libopenvino_c.so.
        folders: further ones in which the libraries that it needs are.
        model: the file.
        device: OpenVINO's name of it.
        memory_fd: the shared memory.

    Raises:
        WorkerLostError: no process can be started.
    """

    def __init__(self, library: Path, folders: list[Path], model: Path, device: str, memory_fd: int) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            arguments = (str(theirs.fileno()), str(memory_fd), str(library), str(model.resolve()), device)
            paths = [library.parent, *folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
            try:
                self._process = subprocess.Popen(  # noqa: S603  # this very Python
                    [*COMMAND, *arguments],
                    cwd=_ROOT,
                    env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, paths))},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(), memory_fd),
                    start_new_session=True,
                )
            except OSError as error:
                self._channel.close()
                raise WorkerLostError(f"cannot be started ({error})") from error
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        self._printed: collections.deque[str] = collections.deque(maxlen=5)
        self._reader = threading.Thread(
            target=self._log_lines, args=(self._process.stdout,), name="ncs2-log", daemon=True
        )
        self._reader.start()
        self._runs = 0

    def hello(self, timeout_s: float) -> Hello:
        """Wait until the model is loaded.

        Raises:
            WorkerFailedError: it cannot be.
            WorkerLostError: nothing sensible came in time.
        """
        message = self._answer(timeout_s)
        if not isinstance(message, Hello):
            raise self._lost(f"said {type(message).__name__} instead of Hello")
        return message

    def run(self, timeout_s: float) -> int:
        """Run the model once. Returns the microseconds that it took.

        Raises:
            WorkerFailedError: OpenVINO failed; the worker has ended.
            WorkerLostError: no sensible answer came in time.
        """
        self._runs = (self._runs + 1) & 0xFFFFFFFF
        try:
            send(self._channel, Run(self._runs))
        except OSError as error:
            raise self._lost() from error
        message = self._answer(timeout_s)
        if not isinstance(message, Done) or message.number != self._runs:
            raise self._lost(f"answered {message} to Run {self._runs}")
        return message.microseconds

    def end(self) -> None:
        """Let it give the stick back and end; kill it when it does not."""
        self._channel.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1)

    def _answer(self, timeout_s: float) -> Message:
        """The next message; never `Failed`."""
        self._channel.settimeout(timeout_s)
        try:
            message = receive(self._channel)
        except TimeoutError as error:
            raise self._lost(f"did not answer within {timeout_s:g} s") from error
        except ProtocolError as error:
            raise self._lost(f"made no sense ({error})") from error
        except OSError as error:
            raise self._lost() from error
        if message is None:
            raise self._lost()
        if isinstance(message, Failed):
            self.end()
            if message.reason not in set(Reason):
                raise WorkerLostError(f"made no sense (failed for reason {message.reason})")
            raise WorkerFailedError(Reason(message.reason), text_of(message.text), self._last_line())
        return message

    def _lost(self, what: str | None = None) -> WorkerLostError:
        """End it at once, and say what happened; without `what` it has ended by itself."""
        if what is None:
            try:
                status = self._process.wait(1)
            except subprocess.TimeoutExpired:
                what = "closed its connection"
            else:
                what = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._process.kill()
        self._channel.close()
        self._process.wait()
        self._reader.join(1)
        line = self._last_line()
        return WorkerLostError(f"{what}; it printed {line!r} last" if line else what)

    def _last_line(self) -> str:
        return self._printed[-1] if self._printed else ""

    def _log_lines(self, stream: BinaryIO) -> None:
        """Thread `ncs2-log`: what OpenVINO and its plug-in print, until the process ends."""
        lines = 0
        with stream:
            while chunk := stream.readline(300):
                if line := chunk.decode("utf-8", "replace").strip():
                    lines += 1
                    self._printed.append(line)
                    if lines <= _LOGGED_LINES:
                        log.warning("NCS2 worker: %s", line)
        if lines > _LOGGED_LINES:
            log.warning("NCS2 worker: %d more lines are not logged", lines - _LOGGED_LINES)
