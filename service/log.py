"""The log of the daemon: to the journal, as text, or as JSON; the same again and again is left out and counted.

A record may carry, as `extra`, the `line` that it is about, its `state`, and of a decision `part`, `verdict` and
`label`: fields of the journal and keys of the JSON.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from edge.clock import rfc3339
from service.journal import JournalHandler, facts_of, leads_to_the_journal
from service.messages import Json

How = Literal["auto", "text", "json"]

WINDOW_S = 60.0
BURST = 10
"""So many records of a kind are logged in each window."""
KINDS = 500
"""Kinds that are told apart; beyond that all begin anew."""


@dataclass(slots=True)
class _Window:
    began_s: float
    sample: logging.LogRecord
    count: int = 0
    left_out: int = 0


class Limit(logging.Filter):
    """Lets only so many records of a kind pass: of one logger and one wording, about one line and state.

    Args:
        now_s: seconds that never go backwards.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._lock = threading.Lock()
        self._windows: dict[tuple[object, ...], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        facts = facts_of(record)
        kind = (record.name, record.msg, record.levelno, *(facts.get(key) for key in ("line", "state", "verdict")))
        now_s = self._now_s()
        with self._lock:
            window = self._windows.get(kind)
            if window is None or now_s - window.began_s >= WINDOW_S:
                if window is not None and window.left_out:
                    record.msg = f"{record.getMessage()} ({window.left_out} like it were left out)"
                    record.args = None
                if len(self._windows) >= KINDS:
                    self._windows.clear()
                window = self._windows[kind] = _Window(now_s, record)
            window.count += 1
            if window.count > BURST:
                window.left_out += 1
                window.sample = record
                return False
        return True

    def left_out(self) -> list[logging.LogRecord]:
        """Records that say how many were left out in the windows that are over; each is given once."""
        now_s = self._now_s()
        with self._lock:
            over = [(k, w) for k, w in self._windows.items() if now_s - w.began_s >= WINDOW_S]
            for kind, _ in over:
                del self._windows[kind]
        return [_summary(window) for _, window in over if window.left_out]


def _summary(window: _Window) -> logging.LogRecord:
    sample = window.sample
    text = f"{sample.getMessage()} (the last of {window.left_out} more like it)"
    where = sample.name, sample.levelno, sample.pathname, sample.lineno
    told = logging.LogRecord(*where, text, None, None, sample.funcName)
    told.__dict__ |= facts_of(sample)
    told.threadName = sample.threadName
    return told


class JsonFormatter(logging.Formatter):
    """One JSON document for each record."""

    def format(self, record: logging.LogRecord) -> str:
        document: Json = {
            "ts": rfc3339(int(record.created * 1e9)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{name: int(fact) if name == "part" else fact for name, fact in facts_of(record).items()},
            "logger": record.name,
            "thread": record.threadName,
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def begin(how: How = "auto") -> None:
    """Log like this from now on.

    Args:
        how: auto: to the journal where standard error leads there, otherwise as text.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if how == "json" else logging.Formatter("%(levelname)s %(message)s"))
    with suppress(OSError, ValueError, AttributeError):  # standard error may be closed
        if how == "auto" and leads_to_the_journal(sys.stderr.fileno()):
            handler = JournalHandler()
            handler.setFormatter(logging.Formatter("%(message)s"))  # level and logger are fields of the entry
    handler.addFilter(Limit())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def tell_what_was_left_out() -> None:
    """To be called every now and then."""
    for handler in logging.getLogger().handlers:
        for limit in handler.filters:
            if isinstance(limit, Limit):
                for record in limit.left_out():
                    handler.emit(record)


def log_decision(message: Json) -> None:
    """A reject or a review, for whoever reads the log. Called by the thread `publish`."""
    verdict, label, score = message["verdict"], message["label"], message["score"]
    if verdict == "pass":
        return
    what = f"{label} {score:.2f}" if label is not None else ""
    text = ": ".join(part for part in (what, message.get("reason", "")) if part)
    fields = {"line": message["line"], "part": message["part"], "verdict": verdict, "label": label}
    _decisions.info("line %s: part %d: %s %s", message["line"], message["part"], verdict, text, extra=fields)


_decisions = logging.getLogger("service.decisions")
