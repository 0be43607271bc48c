"""How far something is: a bar on a terminal, else a line now and then. On stderr, for results go to stdout."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from typing_extensions import Self

EVERY_S = 15.0


class TimeBar:
    """The progress of something that takes a time known before.

    Args:
        seconds: how long it takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begin = time.monotonic()
        self._told = self._begin
        console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if console.is_terminal:
            columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("", total=seconds)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, what: str) -> None:
        """What is done now."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=min(now - self._begin, self._seconds), description=what)
        elif now - self._told >= EVERY_S:
            self._told = now
            print(f"{now - self._begin:.0f} s: {what}", file=sys.stderr, flush=True)  # noqa: T201
