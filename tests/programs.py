"""A program under test that prints, and somebody who waits for what it prints."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from typing_extensions import Self


class Program:
    """Runs a command, with its children, for as long as the `with` block lasts. What it prints goes to a file."""

    def __init__(self, command: Sequence[object], output: Path, **environment: str) -> None:
        self._output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(10)

    @property
    def lines(self) -> list[str]:
        """What it has printed so far."""
        return self._output.read_text(encoding="utf-8").splitlines()

    def wait_for(self, pattern: str, count: int = 1, timeout_s: float = 60) -> list[str]:
        """The lines that match, as soon as there are `count` of them."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = [line for line in self.lines if re.search(pattern, line)]
            if len(found) >= count:
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{count} times {pattern!r} in:\n" + "\n".join(self.lines))
