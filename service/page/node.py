"""The daemon as the page sees it."""

from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock
from service.lines import Managed
from service.mqtt import MqttConnection
from service.page.shift import Shift
from service.publisher import Publisher
from service.sections import Settings


@dataclass(frozen=True, slots=True)
class Node:
    """What others own and the page reads.

    Attributes:
        settings: with which the daemon was started.
        lines: those that there are to be, now.
        shift: what they decided in it.
        publisher: what waits for the broker.
        connection: to the broker.
        hang: which threads hang, one sentence; empty when all is well.
        note: what else there is to say, or "".
        clock: the time.
    """

    settings: Settings
    lines: Callable[[], tuple[Managed, ...]]
    shift: Shift
    publisher: Publisher
    connection: MqttConnection
    hang: Callable[[], str]
    note: Callable[[], str]
    clock: Clock

    def line(self, name: str) -> Managed | None:
        """The line of that name, if there is one."""
        return next((managed for managed in self.lines() if managed.line.name == name), None)
