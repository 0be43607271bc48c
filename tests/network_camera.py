"""A network camera for tests: a real RTSP server in a process of its own, which can be killed, stopped and replaced."""

import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import a_free_port

from edge.frame import Frame, Image

SERVER = Path(__file__).parent / "rtsp_server.py"
NUMBERS = 500
"""For the frames of each start: no number comes again."""
PYTHON = "/usr/bin/python3"
_HAS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def needs_rtsp_server() -> None:
    """Skip the test where Debian's packages are missing."""
    if subprocess.run([PYTHON, "-c", _HAS], capture_output=True, check=False).returncode:
        pytest.skip("gst-rtsp-server is not installed; ./install.sh test installs it")


def number_in(frame: Frame) -> int:
    """The number that `rtsp_server.py` drew into it; -1 where a damaged stream made the picture too small for one."""
    if frame.height < 12 or frame.width < 16 * 16:
        return -1
    squares = frame.image[4:12, : 16 * 16].reshape(8, 16, 16, -1)[:, :, 4:12].mean(axis=(0, 2, 3))
    return int(sum(1 << bit for bit, light in enumerate(squares) if light > 125))


class NetworkCamera:
    """At rtsp://127.0.0.1:PORT/cam."""

    def __init__(
        self, port: int | None, folder: Path, picture: Image | None = None, login: tuple[str, ...] = ()
    ) -> None:
        self.port = a_free_port() if port is None else port
        self.address = f"rtsp://127.0.0.1:{self.port}/cam"
        self._folder = folder
        self._picture = np.full((480, 640, 3), 120, np.uint8) if picture is None else picture
        self._login = login
        self._first = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.answered = 0.0
        """When (monotonic) it answered for the first time since it was started or let go on."""

    def start(self, width: int = 640, height: int = 480, fps: int = 15) -> None:
        path = self._folder / f"{width}x{height}.i420"
        if not path.exists():
            resized = cv2.resize(self._picture, (width, height))
            path.write_bytes(cv2.cvtColor(resized, cv2.COLOR_BGR2YUV_I420).tobytes())
        self._first += NUMBERS
        numbers = map(str, (self.port, path, width, height, fps, self._first))
        words = [PYTHON, str(SERVER), *numbers, *self._login]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        self.answered = 0.0
        threading.Thread(target=self._ask, daemon=True).start()

    def kill(self) -> float:
        """With SIGKILL. When that was."""
        return self._end(signal.SIGKILL)

    def stop(self) -> float:
        """With SIGSTOP. When that was."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        return time.monotonic()

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self.answered = time.monotonic()

    def close(self) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)

    def _end(self, number: int) -> float:
        assert self._process is not None
        self._process.send_signal(number)
        when = time.monotonic()
        self._process.wait(10)
        self._process = None
        return when

    def _ask(self) -> None:
        """Thread: until it answers."""
        process = self._process
        while process is not None and process is self._process:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(f"OPTIONS {self.address} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                    if connection.recv(100).startswith(b"RTSP/1.0 "):
                        self.answered = time.monotonic()
                        return
            except OSError:
                pass
            time.sleep(0.005)
