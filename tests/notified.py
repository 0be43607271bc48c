"""Whoever listens where systemd would: a real notification socket."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from typing_extensions import Self


class Notified:
    """Keeps what a daemon tells systemd, for as long as the `with` block lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._messages: list[str] = []
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(5000):
            with self._more:
                self._messages.append(message.decode())
                self._more.notify_all()

    @property
    def messages(self) -> list[str]:
        """Everything that was told so far."""
        with self._more:
            return list(self._messages)

    def wait_for(self, matches: Callable[[str], bool], after: int = 0, timeout_s: float = 40) -> int:
        """The number of the first message that matches, from number `after` on."""

        def found() -> int | None:
            return next((n for n, m in enumerate(self._messages) if n >= after and matches(m)), None)

        with self._more:
            assert self._more.wait_for(lambda: found() is not None, timeout_s), self._messages[after:]
            number = found()
        assert number is not None
        return number

    def wait_for_status(self, text: str, after: int = 0) -> int:
        """As `wait_for`, for a STATUS that holds `text`."""
        return self.wait_for(lambda message: message.startswith("STATUS=") and text in message, after)
