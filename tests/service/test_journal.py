"""The log as the journal takes it. A real journal is tried with the package."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from service import log
from service.journal import JournalHandler, leads_to_the_journal


class Journal:
    """Keeps entries as they are sent."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def send(self, message: str, **fields: Any) -> None:
        self.entries.append({"MESSAGE": message, **fields})

    def take(self, level: int, message: str, thread: str, **extra: str) -> dict[str, Any]:
        record = logging.LogRecord("service.line", level, "line.py", 7, message, None, None)
        record.threadName = thread
        record.__dict__ |= extra
        JournalHandler(self.send).emit(record)
        return self.entries[-1]


@pytest.mark.parametrize(
    ("level", "priority"), [(logging.DEBUG, "7"), (logging.INFO, "6"), (logging.WARNING, "4"), (logging.ERROR, "3")]
)
def test_levels_become_priorities(level: int, priority: str) -> None:
    assert Journal().take(level, "x", "main")["PRIORITY"] == priority


def test_a_line_and_its_state_are_fields() -> None:
    entry = Journal().take(logging.INFO, "line top: fault", "inspect-top", line="top", state="fault")
    assert (entry["LINE"], entry["STATE"]) == ("top", "fault")
    assert (entry["MESSAGE"], entry["SYSLOG_IDENTIFIER"]) == ("line top: fault", "edgecls")
    assert (entry["CODE_FILE"], entry["CODE_LINE"]) == ("line.py", 7)


def test_what_a_thread_of_a_line_logs_belongs_to_the_line() -> None:
    assert Journal().take(logging.INFO, "x", "capture-line-2")["LINE"] == "line-2"
    assert "LINE" not in Journal().take(logging.INFO, "x", "publish")


def test_a_journal_that_fails_stops_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    def send(*_: Any, **_fields: Any) -> None:
        raise OSError("no journal")

    JournalHandler(send).emit(logging.LogRecord("x", logging.INFO, "f", 1, "lost?", None, None))
    assert "lost?" in capfd.readouterr().err


def test_it_is_told_apart_from_other_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert leads_to_the_journal(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")
        assert not leads_to_the_journal(file.fileno())
        for broken in ("", "x", "1:2:3"):
            monkeypatch.setenv("JOURNAL_STREAM", broken)
            assert not leads_to_the_journal(file.fileno())


def test_entries_say_in_fields_what_is_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, entries = logging.getLogger(), Journal()
    before = list(root.handlers)
    with (tmp_path / "log").open("w") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr("sys.stderr", file)
        try:
            for handler in before:  # those of the tests are to live on
                root.removeHandler(handler)
            log.begin()
            (handler,) = root.handlers
            assert isinstance(handler, JournalHandler)
            handler._send = entries.send
            logging.getLogger("service.line").warning("line %s: fault", "top")
        finally:
            root.handlers[:] = before
    assert (entries.entries[-1]["MESSAGE"], entries.entries[-1]["LOGGER"]) == ("line top: fault", "service.line")
