"""What a line has decided in this shift and in the one before, and what it decided last."""

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.decision import Decision

log = logging.getLogger(__name__)

SCHEMA = "edgecls/shift/1"
DAY_S = 86_400


@dataclass(slots=True)
class Counted:
    """Of one line and one shift."""

    verdicts: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    """Rejects by label."""

    def json(self) -> dict[str, dict[str, int]]:
        """As it is kept and shown."""
        return {"verdicts": dict(self.verdicts), "defects": dict(self.defects)}


def shift_of(now_s: float, begins: Sequence[str]) -> tuple[float, float]:
    """When the shift at a time began and when it ends; seconds since 1970.

    Args:
        now_s: seconds since 1970.
        begins: times of day at which shifts begin, on the clock on the wall, such as 06:00.
    """
    day = time.localtime(now_s)
    marks = sorted(
        time.mktime((day.tm_year, day.tm_mon, day.tm_mday + off, int(at[:2]), int(at[3:]), 0, 0, 0, -1))
        for off in (-1, 0, 1)
        for at in begins
    )
    return max(mark for mark in marks if mark <= now_s), min(mark for mark in marks if mark > now_s)


class Shift:
    """Counts the decisions of all lines. `count` is called by the inspecting threads, the rest by others.

    It is kept in a file, so that a restart does not begin the shift anew.

    Args:
        path: that file; it is written by `save` alone.
        begins: times of day at which shifts begin.
        now_s: the time, seconds since 1970.
    """

    def __init__(self, path: Path, begins: Sequence[str], now_s: float) -> None:
        self._path = path
        self._begins = tuple(begins)
        self._lock = threading.Lock()
        self._lines: dict[str, Counted] = {}
        self._before: dict[str, Counted] = {}
        self._last: dict[str, Decision] = {}
        self._changed = False
        self._told = False
        self.since_s, self.until_s = shift_of(now_s, self._begins)
        self._read()

    def count(self, decision: Decision) -> None:
        """One more."""
        ruling = decision.ruling
        with self._lock:
            self._turn(decision.decided_at_ns / 1e9)
            counted = self._lines.setdefault(decision.line, Counted())
            counted.verdicts[ruling.verdict] += 1
            if ruling.verdict == "reject" and ruling.evidence is not None:
                counted.defects[ruling.evidence.classification.label] += 1
            self._last[decision.line] = decision
            self._changed = True

    def of(self, line: str, now_s: float) -> tuple[Counted, Counted]:
        """Copies of what was counted in this shift and in the one before."""
        with self._lock:
            self._turn(now_s)
            return tuple(  # type: ignore[return-value]  # there are two
                Counted(Counter(c.verdicts), Counter(c.defects))
                for c in (lines.get(line, Counted()) for lines in (self._lines, self._before))
            )

    def last(self, line: str) -> Decision | None:
        """The last decision of a line since the start of the daemon."""
        return self._last.get(line)

    def save(self) -> None:
        """Write the file if there is something new. It may take as long as the disk does."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            shifts = {"this": self._lines, "before": self._before}
            document = {
                "schema": SCHEMA,
                "since_s": self.since_s,
                "until_s": self.until_s,
                **{name: {line: counted.json() for line, counted in of.items()} for name, of in shifts.items()},
            }
            text = json.dumps(document)
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            with new.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            self._changed = True
            if not self._told:
                log.warning("%s cannot be written (%s): a restart begins the shift anew", self._path, error.strerror)
            self._told = True
        else:
            self._told = False

    def _turn(self, now_s: float) -> None:
        """Another shift begins when it is time. A clock that was set back stays in its shift."""
        if now_s < self.until_s:
            return
        since_s, until_s = shift_of(now_s, self._begins)
        follows = since_s == self.until_s
        self._before = self._lines if follows else {}
        self._lines = {}
        self.since_s, self.until_s = since_s, until_s
        self._changed = True

    def _read(self) -> None:
        """What the file says of this shift. One that is missing or damaged says nothing."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            since_s = document["since_s"]
            if document["schema"] == SCHEMA and since_s == self.since_s:
                self._lines, self._before = _lines(document["this"]), _lines(document["before"])
            elif document["schema"] == SCHEMA and document["until_s"] == self.since_s:
                self._before = _lines(document["this"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read (%s): the shift begins anew", self._path, error)


def _lines(kept: Mapping[str, Any]) -> dict[str, Counted]:
    return {
        line: Counted(
            Counter({str(k): int(v) for k, v in counted["verdicts"].items()}),
            Counter({str(k): int(v) for k, v in counted["defects"].items()}),
        )
        for line, counted in kept.items()
    }
