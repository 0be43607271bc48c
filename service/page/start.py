"""Where the status page begins. Without `http` in the configuration nothing of it is loaded."""

from pathlib import Path
from typing import TYPE_CHECKING

from edge.clock import Clock
from service.http_section import HttpSection
from service.page.node import Node
from service.page.shift import Shift
from service.sections import Settings

if TYPE_CHECKING:
    from service.page.server import Server


def shift_for(settings: Settings, clock: Clock) -> Shift | None:
    """What counts the shift, beside the outbox; None when nobody is to see it."""
    if settings.http is None:
        return None
    path = Path(settings.outbox.path).with_name("shift.json")
    return Shift(path, settings.http.shifts, clock.now_ns() / 1e9)


def start_page(section: HttpSection, node: Node) -> "Server":
    """Serve it. A web server takes memory and time to load: only when it is wanted, and after the lines have begun."""
    from service.metrics.render import CONTENT_TYPE, Metrics  # noqa: PLC0415  # see above
    from service.page.server import Server  # noqa: PLC0415  # see above

    page = Server(section, node, metrics=(Metrics(node.view).render, CONTENT_TYPE))
    page.start()
    return page
