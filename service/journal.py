"""The log as systemd's journal takes it: with the line and its state in fields of their own, to search by."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from systemd import journal

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""From Python's levels to those of syslog."""
_THREADS_OF_A_LINE = ("inspect-", "capture-")


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """The fields of a journal entry besides its message.

    `EDGECLS_LINE` is `extra={"line": …}` of whoever logs, else that of the thread; `EDGECLS_STATE` is
    `extra={"state": …}`.
    """
    fields = {
        "PRIORITY": str(next((p for level, p in _PRIORITIES if record.levelno >= level), 7)),
        "SYSLOG_IDENTIFIER": "edgecls",
        "THREAD_NAME": record.threadName or "",
        "LOGGER": record.name,
    }
    line = getattr(record, "line", None) or _line_of(fields["THREAD_NAME"])
    state = getattr(record, "state", None)
    return fields | ({"EDGECLS_LINE": line} if line else {}) | ({"EDGECLS_STATE": state} if state else {})


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


def use_the_journal() -> None:
    """Log to the journal itself when standard error would end there; otherwise all stays as it is."""
    with suppress(OSError, ValueError):  # standard error may be closed
        if leads_to_the_journal(sys.stderr.fileno()):
            # The level and the logger are fields of the entry.
            logging.basicConfig(level=logging.INFO, handlers=[JournalHandler()], format="%(message)s", force=True)
