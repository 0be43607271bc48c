"""A new configuration while the lines work: only what has changed is touched.

The thread `reload` reads it, checks it and loads models; the lines go on as they are. Then `main`, a step at a time
since it has heartbeats to send, stops the lines that have changed or are gone, and starts those that have changed or
are new.
"""

import logging
import threading
from collections.abc import Callable, Iterator

from edge.errors import EdgeError
from service.lines import LineMaker, Lines, Managed, let_go
from service.section import Section
from service.sections import Settings
from service.settings import ConfigurationError

log = logging.getLogger(__name__)

FIXED = ("node", "mqtt", "outbox", "evidence", "http")
"""Keys that take effect with the next start only: everything else hangs on them."""


class Reload:
    """One reload, from reading to its end.

    Args:
        read: reads and checks the configuration.
        maker: makes what has changed.
        before: what runs now.
        stop: set when the daemon is to end.
    """

    def __init__(self, read: Callable[[], Settings], maker: LineMaker, before: Lines, stop: threading.Event) -> None:
        self._read = read
        self._maker = maker
        self._stop = stop
        self.before = before
        self.after: Lines | None = None
        """What is to run; None before it is known, and when the configuration is refused."""
        self.problems: list[str] = []
        """Why it is refused, one sentence each."""
        self.later: list[str] = []
        """Keys that have changed and take effect with the next start only."""
        self._thread = threading.Thread(target=self._prepare, name="reload", daemon=True)
        self._thread.start()

    @property
    def is_preparing(self) -> bool:
        """Whether it does not know yet what there is to do."""
        return self._thread.is_alive()

    @property
    def leaving(self) -> list[Managed]:
        """The lines that end, to be replaced or for good."""
        return [] if self.after is None else [m for m in self.before.managed if m not in self.after.managed]

    @property
    def arriving(self) -> list[Managed]:
        """The lines that begin, in place of others or anew."""
        return [] if self.after is None else [m for m in self.after.managed if m not in self.before.managed]

    def finish(self) -> None:
        """The lines have been exchanged."""
        if self.after is not None:
            let_go(self.before.engines, self.after.engines)

    @property
    def outcome(self) -> str:
        """What came of it, in one sentence."""
        if self.problems:
            more = f" and {len(self.problems) - 1} more, see the log" if len(self.problems) > 1 else ""
            return f"reload refused, the old configuration stays in force: {self.problems[0]}{more}"
        left, came = ({m.line.name for m in lines} for lines in (self.leaving, self.arriving))
        groups = (("restarted", left & came), ("added", came - left), ("removed", left - came))
        done = ", ".join(f"{word} {' '.join(sorted(names))}" for word, names in groups if names)
        text = f"reloaded: {done or 'nothing has changed'}"
        if self.later:
            text += f"; needs `systemctl restart edgecls`: {', '.join(self.later)}"
        return text

    def _prepare(self) -> None:
        try:
            wanted, now = self._read(), self.before.settings
            self.later = [key for name in FIXED for key in differences(getattr(now, name), getattr(wanted, name), name)]
            settings = wanted.model_copy(update={name: getattr(now, name) for name in FIXED})
            self.after = self._maker.make(settings, self._stop, self.before)
        except ConfigurationError as error:
            self.problems = [str(problem) for problem in error.problems]
        except EdgeError as error:
            self.problems = [str(error)]
        except Exception:
            log.exception("the configuration could not be reloaded: a mistake in edgecls, please report it")
            self.problems = ["a mistake in edgecls: see the log"]


def differences(old: object, new: object, key: str) -> Iterator[str]:
    """The keys, with dots, under which two sections are not the same."""
    if isinstance(old, Section) and type(old) is type(new):
        for name in type(old).model_fields:
            yield from differences(getattr(old, name), getattr(new, name), f"{key}.{name}")
    elif old != new:
        yield key
