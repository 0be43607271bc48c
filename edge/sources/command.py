"""Raw frames from the standard output of a program, such as `rpicam-vid` or `ffmpeg`."""

import fcntl
import os
import select
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edge.clock import Clock
from edge.errors import SourceError, SourceNotUsableError
from edge.frame import Frame, Image
from edge.sources.opened import About

PixelFormat = Literal["bgr24", "rgb24", "gray8", "yuv420", "nv12", "yuyv"]

_LAYOUTS: dict[str, tuple[int, int, int | None]] = {
    "bgr24": (3, 2, None),
    "rgb24": (3, 2, cv2.COLOR_RGB2BGR),
    "gray8": (1, 2, cv2.COLOR_GRAY2BGR),
    "yuv420": (1, 3, cv2.COLOR_YUV2BGR_I420),
    "nv12": (1, 3, cv2.COLOR_YUV2BGR_NV12),
    "yuyv": (2, 2, cv2.COLOR_YUV2BGR_YUY2),
}
"""Bytes in a row per pixel; halves of the height in rows; how OpenCV makes BGR of it."""
_PIPE_BYTES = 1024 * 1024
_TERM_S = 0.3
"""A program may give its camera back before it is killed."""


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """A program that writes frames, one after the other, with nothing between them.

    Attributes:
        command: with its arguments, as a shell splits them; no shell is started.
        width, height: of its frames, pixels.
        pixel_format: of its frames.
        folder: where it is started.
        lost_after_s: without a frame for so long it counts as lost.
    """

    command: str
    width: int
    height: int
    pixel_format: PixelFormat = "bgr24"
    folder: str = "/"
    lost_after_s: float = 1.5


class CommandSource:
    """Frames as the program writes them."""

    open_limit_s = 5.0

    def __init__(self, line: str, settings: CommandSettings, clock: Clock, _identity: str = "") -> None:
        self._line = line
        self._settings = settings
        self._clock = clock
        self._words = shlex.split(settings.command)
        width_bytes, half_rows, self._to_bgr = _LAYOUTS[settings.pixel_format]
        self._raw = np.empty((settings.height * half_rows // 2, settings.width, width_bytes), np.uint8)
        self._bytes = self._raw.nbytes
        self._process: subprocess.Popen[bytes] | None = None
        self._seq = 0

    @property
    def group(self) -> int:
        """The process group of the program, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    @property
    def _name(self) -> str:
        return f"command {self._words[0]}"

    def open(self) -> About:
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the program that the configuration names
                self._words,
                cwd=self._settings.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a process group of its own, too
            )
        except FileNotFoundError as error:
            raise SourceNotUsableError(f"{self._name} is not there: install it, or give its path") from error
        except OSError as error:
            raise SourceError(f"{self._name} cannot be started: {error.strerror}") from error
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        with suppress(OSError):  # less is allowed: it wakes up more often
            fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._process.stdout.fileno(), False)
        settings = self._settings
        return About(f"{settings.width}x{settings.height} {settings.pixel_format}, as configured")

    def read(self, into: Image | None = None) -> Frame:
        if self._process is None:
            raise RuntimeError("read before open")
        shape = (self._settings.height, self._settings.width, 3)
        if into is None or into.shape != shape:
            into = np.empty(shape, np.uint8)
        if self._to_bgr is None:
            captured_at_ns = self._fill(into)
        else:
            captured_at_ns = self._fill(self._raw)
            cv2.cvtColor(self._raw, self._to_bgr, into)
        seq, self._seq = self._seq, self._seq + 1
        return Frame(self._line, seq, into, captured_at_ns)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        for number, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):  # all of the group have ended
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
        process.stdout.close()  # not before: it would print that its pipe is broken

    def _fill(self, into: Image) -> int:
        """The next frame, whole. When its first bytes came: UTC, nanoseconds."""
        assert self._process is not None  # noqa: S101  # read has seen to it
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        pipe = self._process.stdout.fileno()
        rest = memoryview(into.data).cast("B")
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        captured_at_ns = 0
        give_up = time.monotonic() + self._settings.lost_after_s - 0.2
        while rest:
            # The whole frame must come in time: a program that writes a little now and then is as good as silent.
            if not ready.poll(max(0.0, give_up - time.monotonic()) * 1000):
                part = "nothing" if len(rest) == self._bytes else "only a part of a frame"
                raise SourceError(f"{self._name} writes {part} any more: see what it prints")
            try:
                count = os.readv(pipe, [rest])
            except BlockingIOError:
                continue
            captured_at_ns = captured_at_ns or self._clock.now_ns()
            if not count:
                raise SourceError(self._end(self._bytes - len(rest)))
            rest = rest[count:]
        return captured_at_ns

    def _end(self, left_over: int) -> str:
        assert self._process is not None  # noqa: S101  # its output has just ended
        try:
            status = self._process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            return f"{self._name} has closed its output"
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if left_over and status >= 0:
            return (
                f"{self._name} {how} in the middle of a frame, with {left_over} of {self._bytes} bytes: "
                "check width, height and pixel_format"
            )
        return f"{self._name} {how}"
