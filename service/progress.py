"""How far something is: a bar on a terminal, else a line now and then. On stderr, for results go to stdout."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from typing_extensions import Self

EVERY_S = 15.0


class _Bar:
    """A bar while the block lasts.

    Args:
        total: what the whole counts.
        columns: what stands beside the bar.
    """

    def __init__(self, total: float, *columns: TimeRemainingColumn) -> None:
        self._begin = time.monotonic()
        self._told = self._begin
        console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if console.is_terminal:
            text = TextColumn("{task.description}", markup=False)
            self._bar = Progress(BarColumn(), *columns, text, console=console, transient=True)
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, what: str, completed: float, total: float) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=min(completed, total), total=total, description=what)
        elif now - self._told >= EVERY_S:
            self._told = now
            print(f"{now - self._begin:.0f} s: {what}", file=sys.stderr, flush=True)  # noqa: T201  # that is what it is for


class TimeBar(_Bar):
    """The progress of something that takes a time known before.

    Args:
        seconds: how long it takes.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, TimeRemainingColumn())
        self._seconds = seconds

    def tell(self, what: str) -> None:
        """What is done now."""
        self._show(what, time.monotonic() - self._begin, self._seconds)


class StepBar(_Bar):
    """The progress of something that has steps of unlike length, and may print its results between them."""

    def __init__(self) -> None:
        super().__init__(1)

    def tell(self, what: str, done: int, steps: int) -> None:
        """What is done now, after `done` of `steps`."""
        self._show(what, done, steps)
        if self._bar is not None:
            self._bar.start()  # nothing happens when it runs

    def pause(self) -> None:
        """Out of the way: something else is printed on the same terminal."""
        if self._bar is not None:
            self._bar.stop()
