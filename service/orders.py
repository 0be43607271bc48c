"""What people ask of a running daemon: to stop, to read its configuration again, to decide now. By signals."""

import logging
import signal
import threading
from collections import deque
from dataclasses import dataclass, field
from types import FrameType

from edge.clock import Clock

log = logging.getLogger(__name__)

MANY_TRIGGERS = 1000


@dataclass(frozen=True, slots=True)
class Orders:
    """Given in a signal handler, where no lock may be waited for; carried out by the thread `main`."""

    stop: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)
    triggers: deque[int] = field(default_factory=lambda: deque(maxlen=MANY_TRIGGERS))
    """When each one came; UTC, nanoseconds."""


def orders_by_signal(clock: Clock) -> Orders:
    """SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR1 triggers. To be called from the main thread."""
    orders = Orders()

    def stop(number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name)
        orders.stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, lambda *_: orders.reload.set())
    signal.signal(signal.SIGUSR1, lambda *_: orders.triggers.append(clock.now_ns()))
    return orders
