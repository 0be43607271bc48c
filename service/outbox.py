"""The outbox: decisions on disk until the broker has acknowledged them.

Invariants:
    1. What was stored stays stored, whatever ends the process, until 2 or 6.
    2. It is removed only after the broker has acknowledged it (or can never take it).
    3. Messages leave in the order of their `seq`, and no `seq` is used twice.
    4. The numbers of a line (`part`) have no gap: the last one is committed together with its message.
    5. Every call is one transaction: all of it is done or nothing, and it costs one fsync.
    6. The stored payloads never take more than `max_bytes`; when they would, the oldest are evicted and counted. The
       file reuses the pages of what was removed, and stays bounded with it.
    7. One process has it: a second one is refused.
    8. A file that is damaged, read-only or on a full disk is lived with: what can be read of it is there, and it is
       written again as soon as that is possible. A damaged one is set aside, never written over.

The publisher adds one: a message is handed to MQTT when it is committed; while the disk takes nothing, messages go from
memory to the broker, after those that are stored, and what the broker has not acknowledged is stored as soon as the
disk takes it. Until then such a message, and its number, do not survive a power cut.

One thread uses it, after the one that made it.
"""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from edge.errors import TemporaryError
from service.outbox_file import (
    COLUMNS,
    INSERT,
    OutboxError,
    cannot_be_used,
    is_damage,
    is_io_error,
    open_snapshot,
    open_writable,
)


class OutboxWriteError(TemporaryError):
    """The outbox cannot be written now; trying again may help."""


@dataclass(frozen=True, slots=True)
class Message:
    """A decision on its way. `seq` is the order of emission, over all lines; `correlation` is of who asked for it."""

    seq: int
    line: str
    topic: str
    payload: bytes
    decided_at_ns: int
    correlation: bytes | None = None


class Outbox:
    """Messages in a SQLite file.

    Args:
        path: the file; its directory is made when it is not there.
        max_bytes: limit of the stored payloads.

    Raises:
        OutboxError: the file can be of no use: it cannot be read, another edgecls has it, a newer one wrote it, or it
            is a database of something else.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._db: sqlite3.Connection | None = None
        self._writable = False
        self._suspect = False
        """The disk failed or the file was damaged while it was used: it is opened anew before it is written again."""
        self.count = 0
        """Messages that are stored."""
        self.last_seq = 0
        """The greatest `seq` ever stored."""
        self.openings = 0
        """Grows when the file was opened anew: what is in it may be less than before."""
        self.problem = ""
        """Why it cannot be written since the start, one sentence for people."""
        self._bytes = 0
        self._last_parts: dict[str, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError("it is a directory")
        except OSError as error:
            raise OutboxError(cannot_be_used(path, error)) from error
        try:
            self._use(open_writable(path), writable=True)
        except (sqlite3.Error, OSError) as error:
            self._use(open_snapshot(path), writable=False)
            self.problem = self._sentence(error)

    def last_part(self, line: str) -> int:
        """The number of the last decision of a line, 0 before the first. As of the opening; from any thread."""
        return self._last_parts.get(line, 0)

    def update(self, new: Sequence[Message], removed: Collection[int], parts: Mapping[str, int]) -> "Counter[str]":
        """Store new messages, remove others (by `seq`), note the last numbers of the lines: in one transaction.

        Returns:
            How many messages were evicted, by line.

        Raises:
            OutboxWriteError: nothing of it was done.
        """
        try:
            try:
                return self._transact(new, removed, parts)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._suspect = True
                return self._transact(new, removed, parts)
        except (sqlite3.Error, OSError, OutboxError) as error:
            self._suspect |= is_damage(error) or is_io_error(error)
            raise OutboxWriteError(self._sentence(error)) from error

    def after(self, seq: int, limit: int) -> list[Message]:
        """The oldest messages whose `seq` is greater than the one given, `limit` at most.

        Empty as well when the file cannot be read at present; `update` opens it anew.
        """
        if self._db is None:
            return []
        try:
            rows = self._db.execute(
                f"SELECT {COLUMNS} FROM message WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608  # a constant
                (seq, limit),
            )
            return [Message(*row) for row in rows]
        except sqlite3.Error:
            self._suspect = True
            return []

    @property
    def suspect(self) -> bool:
        """Whether reading or writing went wrong in a way that `update` should look into soon."""
        return self._suspect

    def close(self) -> None:
        """Let go of the file. Messages stay in it."""
        if self._db is not None:
            with suppress(sqlite3.Error):  # what was committed is in the WAL, even if it cannot be tidied up now
                self._db.close()
        self._db = None

    def _transact(self, new: Sequence[Message], removed: Collection[int], parts: Mapping[str, int]) -> "Counter[str]":
        db = self._writable_db()
        before = self.count, self._bytes
        try:
            db.execute("BEGIN IMMEDIATE")
            evicted = self._change(db, new, removed, parts)
            db.execute("COMMIT")
        except BaseException:
            self.count, self._bytes = before
            if db.in_transaction:
                with suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            raise
        self.last_seq = max(self.last_seq, *(m.seq for m in new)) if new else self.last_seq
        self._last_parts.update(parts)
        self.problem = ""
        return evicted

    def _change(
        self, db: sqlite3.Connection, new: Sequence[Message], removed: Collection[int], parts: Mapping[str, int]
    ) -> "Counter[str]":
        evicted = Counter(m.line for m in new if len(m.payload) > self._max_bytes)
        for first, last in _ranges(removed):
            sizes = db.execute(
                "DELETE FROM message WHERE seq BETWEEN ? AND ? RETURNING length(payload)", (first, last)
            ).fetchall()
            self.count -= len(sizes)
            self._bytes -= sum(size for (size,) in sizes)
        fitting = [m for m in new if len(m.payload) <= self._max_bytes]
        # What failed after it had reached the disk is there already.
        inserted = db.executemany(
            INSERT,
            [(m.seq, m.line, m.topic, m.payload, m.decided_at_ns, m.correlation) for m in fitting],
        ).rowcount
        db.executemany(
            "INSERT INTO line VALUES (?, ?) ON CONFLICT DO UPDATE SET last_part = max(last_part, excluded.last_part)",
            list(parts.items()),
        )
        if fitting and inserted != len(fitting):
            self._recount(db)
        else:
            self.count += len(fitting)
            self._bytes += sum(len(m.payload) for m in fitting)
        if self._bytes > self._max_bytes:
            evicted += self._evict(db)
        return evicted

    def _evict(self, db: sqlite3.Connection) -> "Counter[str]":
        evicted: Counter[str] = Counter()
        last = 0
        for seq, line, size in db.execute("SELECT seq, line, length(payload) FROM message ORDER BY seq"):
            if self._bytes <= self._max_bytes:
                break
            last = seq
            evicted[line] += 1
            self.count -= 1
            self._bytes -= size
        db.execute("DELETE FROM message WHERE seq <= ?", (last,))
        return evicted

    def _writable_db(self) -> sqlite3.Connection:
        if self._db is not None and self._writable and not self._suspect:
            return self._db
        if self._suspect:
            self.close()
            self._writable = False
        try:
            self._use(open_writable(self._path), writable=True)
        except (sqlite3.Error, OSError, OutboxError):
            if self._db is None:
                with suppress(OutboxError):
                    self._use(open_snapshot(self._path), writable=False)
            raise
        assert self._db is not None  # noqa: S101  # `_use` has set it
        return self._db

    def _use(self, db: sqlite3.Connection | None, *, writable: bool) -> None:
        self.close()
        self._db, self._writable, self._suspect = db, writable, False
        self.openings += 1
        if db is None:
            # Nobody knows what numbers a file had that comes back later; the time is greater than any.
            self.count, self._bytes = 0, 0
            self.last_seq = max(self.last_seq, time.time_ns() // 1000)
            return
        self._recount(db)
        (last_seq,) = db.execute(
            "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0), "
            "coalesce((SELECT max(seq) FROM message), 0))"
        ).fetchone()
        self.last_seq = max(self.last_seq, last_seq)
        self._last_parts |= dict(db.execute("SELECT name, last_part FROM line"))

    def _recount(self, db: sqlite3.Connection) -> None:
        query = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM message"
        self.count, self._bytes = db.execute(query).fetchone()

    def _sentence(self, error: BaseException) -> str:
        if "full" in str(error) or "No space" in str(error):
            remedy = f"free some space in {self._path.parent}"
        elif not os.access(self._path if self._path.exists() else self._path.parent, os.W_OK):
            remedy = f"make {self._path} and its directory writable"
        else:
            remedy = f"check the disk with {self._path}"
        return (
            f"the outbox cannot be written ({error}): decisions wait in memory and are not safe from a power cut; "
            f"{remedy}"
        )


def _ranges(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """First and last of each row of numbers that follow each other without a gap."""
    for _, row in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        found = [number for _, number in row]
        yield found[0], found[-1]
