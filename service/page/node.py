"""The daemon as the page sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock
from service.lines import Managed
from service.page.shift import Shift
from service.sections import Settings
from service.view import View


@dataclass(frozen=True, slots=True)
class Node:
    """What others own and the page reads.

    Attributes:
        settings: with which the daemon was started.
        view: of the daemon.
        shift: what was decided in it.
        hang: which threads hang, one sentence; empty when all is well.
        note: what else there is to say, or "".
        clock: the time.
    """

    settings: Settings
    view: View
    shift: Shift
    hang: Callable[[], str]
    note: Callable[[], str]
    clock: Clock

    def line(self, name: str) -> Managed | None:
        """The line of that name, if there is one."""
        return next((managed for managed in self.view.lines() if managed.line.name == name), None)
