"""The daemon in one sentence, for `systemctl status`."""

from collections.abc import Iterable

from edge.errors import EdgeError
from service.lines import Managed
from service.mqtt import MqttConnection
from service.publisher import Publisher
from service.settings import ConfigurationError


def status_text(lines: Iterable[Managed], connection: MqttConnection, publisher: Publisher, note: str) -> str:
    """What each line does, then what is not as it should be.

    Args:
        lines: all of them.
        connection: to the broker.
        publisher: what waits for it.
        note: what else there is to say, or "".
    """
    parts = [_of_line(managed) for managed in lines]
    if not connection.connected:
        parts.append(f"broker away, {publisher.backlog} waiting")
    parts += [text for text in (publisher.problem, note) if text]
    return "; ".join(parts)


def does_not_start(error: ConfigurationError | EdgeError) -> str:
    """Why, and what to do about it. It stays in `systemctl status` until the next start."""
    if isinstance(error, ConfigurationError):
        first, *more = error.problems
        others = f" and {len(more)} more" if more else ""
        return (
            f"does not start: {first}{others}. `edgecls check-config` names every mistake, "
            "`systemctl restart edgecls` tries again"
        )
    return f"does not start: {error}"


def _of_line(managed: Managed) -> str:
    hang, status = managed.line.hang, managed.line.status
    if hang is not None:
        return f"{managed.line.name} hangs: {hang}"
    fps = managed.health.last_fps
    figures = f" {fps:.1f} fps" if status.state == "inspecting" and fps else ""
    return f"{managed.line.name} {status.state}{figures}" + (f": {status.reason}" if status.reason else "")
