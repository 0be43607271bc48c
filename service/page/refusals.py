"""What was refused, for the log: a handful of sentences in a minute, however many requests it takes."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)

PERIOD_S = 60.0
SENTENCES = 5
"""That are told in one period; the others are counted."""


class Refusals:
    """Used by the thread `http` alone.

    Args:
        now_s: monotonic time, seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.count = 0
        self._begin_s = now_s() - PERIOD_S
        self._told = 0
        self._silent: Counter[str] = Counter()

    def note(self, remote: str | None, what: str) -> None:
        """Something was refused.

        Args:
            remote: who asked.
            what: as a sentence goes on after "refused".
        """
        self.count += 1
        self.tell()
        if self._told < SENTENCES:
            self._told += 1
            log.warning("page: refused %s from %s", what, remote or "somebody")
        else:
            self._silent[what] += 1

    def tell(self) -> None:
        """Say how many were counted when a period is over. To be called now and then."""
        now_s = self._now_s()
        if now_s < self._begin_s + PERIOD_S:
            return
        if self._silent:
            text = ", ".join(f"{count} times {what}" for what, count in self._silent.most_common(5))
            log.warning("page: refused besides, within a minute: %s", text)
        self._begin_s, self._told = now_s, 0
        self._silent.clear()

    def logger(self) -> logging.Logger:
        """What aiohttp logs to: requests that it cannot read are refusals, and its own mistakes stay what they are."""
        logger = logging.Logger("service.page.http", logging.DEBUG)  # noqa: LOG001  # for this server alone
        logger.parent = log
        logger.addFilter(self._passes)
        return logger

    def _passes(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            remote = record.args[0] if isinstance(record.args, tuple) and record.args else None
            self.note(str(remote), "a malformed request")
            return False
        return record.levelno >= logging.WARNING and not isinstance(error, web.HTTPException | ConnectionError)
