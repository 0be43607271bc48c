"""The log as systemd's journal takes it: with the line and its state in fields of their own, to search by."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress

from systemd import journal

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""From Python's levels to those of syslog."""
_THREADS_OF_A_LINE = ("inspect-", "capture-")


_FACTS = ("line", "state", "part", "verdict", "label")


def facts_of(record: logging.LogRecord) -> dict[str, str]:
    """What a record is about, as far as it says: `line`, `state`, `part`, `verdict`, `label`.

    They are `extra={"line": …}` of whoever logs; the line is else that of the thread.
    """
    facts = {name: str(value) for name in _FACTS if (value := getattr(record, name, None)) is not None}
    if "line" not in facts and (line := _line_of(record.threadName or "")):
        facts = {"line": line, **facts}
    return facts


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """The fields of a journal entry besides its message, among them what is known of `facts_of`, in capitals."""
    return {
        "PRIORITY": str(next((p for level, p in _PRIORITIES if record.levelno >= level), 7)),
        "SYSLOG_IDENTIFIER": "edgecls",
        "THREAD_NAME": record.threadName or "",
        "LOGGER": record.name,
        **{name.upper(): value for name, value in facts_of(record).items()},
    }


def _line_of(thread: str) -> str:
    return next((thread.removeprefix(p) for p in _THREADS_OF_A_LINE if thread.startswith(p)), "")


class JournalHandler(logging.Handler):
    """Hands records to the journal.

    Args:
        send: takes the message and the fields by name.
    """

    def __init__(self, send: Callable[..., object] = journal.send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            where = {"CODE_FILE": record.pathname, "CODE_LINE": record.lineno, "CODE_FUNC": record.funcName}
            self._send(self.format(record), **where, **fields_of(record))
        except Exception:  # noqa: BLE001  # whatever ails the journal, it must not stop who logs
            self.handleError(record)


def leads_to_the_journal(stream: int) -> bool:
    """Whether what is written to that file descriptor ends in the journal: systemd says which one it is."""
    with suppress(OSError, ValueError):
        device, inode = (int(number) for number in os.environ.get("JOURNAL_STREAM", "").split(":"))
        found = os.fstat(stream)
        return (found.st_dev, found.st_ino) == (device, inode)
    return False
