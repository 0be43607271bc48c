"""A network camera: RTSP, read by FFmpeg through OpenCV."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

import cv2

from edge.clock import Clock
from edge.errors import SourceError, SourceNotUsableError
from edge.frame import Frame, Image
from edge.sources.opened import About

_CONNECT_S = 1.0
_OPEN_S = 5.0
_ANALYSE_S = (0.2, 0.2, 4.0)
"""How much of the stream FFmpeg looks at before it begins. The first is enough where the camera describes its stream
well, and a picture is there at once; the last is tried in turn, for cameras that do not."""
_BACKLOG_FRAMES, _BACKLOG_GAP_S = 60, 0.015
"""What FFmpeg has collected by then comes much faster than any camera sends, and is old."""
_KEY_FRAME_WITHIN_S = 12.0
"""Until a frame that stands on its own, the picture is made of differences to frames that were never seen. Encoders
that send none refresh the picture bit by bit, within a few seconds."""
_KEY_FRAME = ord("I")
_PORTS = {"rtsp": 554, "rtsps": 322}


@dataclass(frozen=True, slots=True)
class RtspSettings:
    """A stream.

    Attributes:
        rtsp: its address, without user name and password.
        transport: how the pictures come.
        username: for the camera.
        password_file: holds the password; read at each attempt.
        lost_after_s: without a frame for so long it counts as lost.
    """

    rtsp: str
    transport: Literal["tcp", "udp"] = "tcp"
    username: str | None = None
    password_file: str | None = None
    lost_after_s: float = 1.5


class RtspSource:
    """Frames as the camera sends them."""

    open_limit_s = _CONNECT_S + _OPEN_S + max(_ANALYSE_S) + 2.0
    group = 0

    def __init__(self, line: str, settings: RtspSettings, clock: Clock, _identity: str = "") -> None:
        self._line = line
        self._settings = settings
        self._clock = clock
        self._capture: cv2.VideoCapture | None = None
        self._seq = 0
        self._fruitless = 0
        """Attempts in a row in which somebody answered, but FFmpeg made no pictures of it."""
        self._is_grabbed = False
        self._differences_until = 0.0
        self._silence_s = settings.lost_after_s - 0.2

    @property
    def _name(self) -> str:
        """Not the whole address: some cameras take a password as a part of it."""
        return f"stream of {urlsplit(self._settings.rtsp).hostname}"

    def open(self) -> About:
        address = self._address()
        self._connect()
        analyse_s = _ANALYSE_S[self._fruitless % len(_ANALYSE_S)]
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(
            (
                f"rtsp_transport;{self._settings.transport}",
                "fpsprobesize;0",
                f"analyzeduration;{analyse_s * 1e6:.0f}",
            )
        )
        limits_ms = {
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: _OPEN_S * 1000,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC: self._silence_s * 1000,
            cv2.CAP_PROP_N_THREADS: 1,  # each thread more keeps a frame back
        }
        self._fruitless += 1
        begin = time.monotonic()
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, [int(n) for pair in limits_ms.items() for n in pair])
        if not capture.isOpened():
            capture.release()
            if time.monotonic() - begin > 0.9 * _OPEN_S:
                self._fruitless -= 1  # it hangs, and would not be understood any better by a longer look
            raise SourceError(
                f"{self._name} cannot be opened: check the path, user name and password, and that it sends H.264, "
                "H.265 or MJPEG"
            )
        self._capture = capture
        self._differences_until = time.monotonic() + _KEY_FRAME_WITHIN_S
        self._skip_backlog(capture)
        self._fruitless = 0
        width, height = (capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        fps = capture.get(cv2.CAP_PROP_FPS)
        return About(f"{width:.0f}x{height:.0f} at {fps:.4g} fps by {self._settings.transport}")

    def read(self, into: Image | None = None) -> Frame:
        if self._capture is None:
            raise RuntimeError("read before open")
        while True:
            if not self._is_grabbed:
                self._grab(self._capture)
            self._is_grabbed = False
            if self._stands_on_its_own(self._capture):
                break
        captured_at_ns = self._clock.now_ns()
        good, image = self._capture.retrieve(into)  # a new array when there is none, or of another size
        if not good or not image.size:
            raise SourceError(f"{self._name} sends pictures that cannot be decoded")
        seq, self._seq = self._seq, self._seq + 1
        return Frame(self._line, seq, image, captured_at_ns)  # type: ignore[arg-type]  # OpenCV's stubs know no dtype; frames are uint8 BGR

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _grab(self, capture: cv2.VideoCapture) -> None:
        since = time.monotonic()
        # When nothing comes FFmpeg gives up and hands out the frame before, which its parser has kept back until then.
        if not capture.grab() or time.monotonic() - since > 0.95 * self._silence_s:
            raise SourceError(f"{self._name} has ended or sends nothing any more: check the camera and its cable")

    def _skip_backlog(self, capture: cv2.VideoCapture) -> None:
        """Up to the newest frame, which is grabbed then."""
        for _ in range(_BACKLOG_FRAMES):
            since = time.monotonic()
            self._grab(capture)
            self._is_grabbed = True
            self._stands_on_its_own(capture)
            if time.monotonic() - since > _BACKLOG_GAP_S:
                return

    def _stands_on_its_own(self, capture: cv2.VideoCapture) -> bool:
        """Whether all that the grabbed frame builds on has been seen."""
        if self._differences_until:
            kind = int(capture.get(cv2.CAP_PROP_FRAME_TYPE))
            if kind == _KEY_FRAME or time.monotonic() > self._differences_until:
                self._differences_until = 0.0
        return not self._differences_until

    def _address(self) -> str:
        """With user name and password, for FFmpeg alone."""
        settings = self._settings
        if settings.username is None:
            return settings.rtsp
        password = ""
        if settings.password_file is not None:
            try:
                password = Path(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise SourceNotUsableError(
                    f"password_file {settings.password_file} of {self._name} cannot be read ({reason}): "
                    "give a file that the user edgecls may read"
                ) from error
        scheme, rest = settings.rtsp.split("://", 1)
        return f"{scheme}://{quote(settings.username, safe='')}:{quote(password, safe='')}@{rest}"

    def _connect(self) -> None:
        """Whether somebody is there. FFmpeg would not say why not, and would wait too long between its attempts."""
        parts = urlsplit(self._settings.rtsp)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        try:
            socket.create_connection((host, port), _CONNECT_S).close()
        except socket.gaierror as error:
            raise SourceError(f"{self._name}: no address is known for {host}: check the name and the DNS") from error
        except TimeoutError as error:
            raise SourceError(f"{self._name}: {host} does not answer: check its power, cable and address") from error
        except OSError as error:
            self._fruitless = 0  # whoever comes next has just started
            reason = (error.strerror or str(error)).lower()
            raise SourceError(f"{self._name}: {host} port {port}: {reason}: check the camera") from error
