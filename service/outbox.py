"""The outbox: decisions on disk until the broker has acknowledged them.

Invariants:
    1. A message is committed to disk before it is handed to MQTT.
    2. It is removed only after the broker has acknowledged it.
    3. Messages leave in the order in which they came.
    4. The numbers of a line (`part`) have no gap: the last one is committed together with its message.
    5. The stored payloads never take more than `max_bytes`; when they would, the oldest are evicted and counted.

One thread uses it. Every call is one transaction, so that a batch costs one fsync.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import PermanentError

SCHEMA_VERSION = 1

_SCHEMA = f"""
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival; never used twice
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    decided_at_ns INTEGER NOT NULL
);
CREATE TABLE line (name TEXT PRIMARY KEY, last_part INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
"""


class OutboxError(PermanentError):
    """The outbox cannot be used."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A decision that is to be stored."""

    line: str
    part: int
    topic: str
    payload: bytes
    decided_at_ns: int


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A decision that is on disk."""

    seq: int
    topic: str
    payload: bytes
    decided_at_ns: int


class Outbox:
    """Messages in a SQLite file.

    Args:
        path: the file; its directory is made when it is not there.
        max_bytes: limit of the stored payloads.

    Raises:
        OutboxError: the file cannot be opened, is no outbox, or was written by a newer edgecls.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.evicted = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Made by the main thread, used by the publishing one.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise OutboxError(
                f"outbox {path} cannot be used ({error}): check that its directory exists, may be written by this user "
                "and has space, or set outbox.path"
            ) from error
        if version > SCHEMA_VERSION:
            raise OutboxError(f"outbox {path} was written by a newer edgecls: install that version, or set outbox.path")
        counted = self._db.execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM message").fetchone()
        self.count: int = counted[0]
        self._bytes: int = counted[1]

    def last_part(self, line: str) -> int:
        """The number of the last decision of a line, 0 before the first."""
        row = self._db.execute("SELECT last_part FROM line WHERE name = ?", (line,)).fetchone()
        return int(row[0]) if row else 0

    def update(self, new: Sequence[NewMessage], acknowledged: Iterable[int]) -> None:
        """Store new messages and remove acknowledged ones (by `seq`), in one transaction.

        Raises:
            sqlite3.Error: nothing of it was done.
        """
        before = self.count, self._bytes, self.evicted
        try:
            self._update(new, acknowledged)
        except sqlite3.Error:
            self.count, self._bytes, self.evicted = before  # the database has rolled back, so must these
            raise

    def _update(self, new: Sequence[NewMessage], acknowledged: Iterable[int]) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for seq in acknowledged:
                self._remove(seq)
            self._db.executemany(
                "INSERT INTO message (topic, payload, decided_at_ns) VALUES (?, ?, ?)",
                [(m.topic, m.payload, m.decided_at_ns) for m in new],
            )
            self._db.executemany(
                "INSERT INTO line VALUES (?, ?) ON CONFLICT DO UPDATE SET last_part = excluded.last_part",
                [(m.line, m.part) for m in new],
            )
            self.count += len(new)
            self._bytes += sum(len(m.payload) for m in new)
            while self._bytes > self._max_bytes and self.count > 1:
                (oldest,) = self._db.execute("SELECT min(seq) FROM message").fetchone()
                self._remove(oldest)
                self.evicted += 1

    def after(self, seq: int, limit: int) -> list[StoredMessage]:
        """The oldest messages whose `seq` is greater than the one given, `limit` at most."""
        rows = self._db.execute(
            "SELECT seq, topic, payload, decided_at_ns FROM message WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        return [StoredMessage(*row) for row in rows]

    def close(self) -> None:
        """Let go of the file. Messages stay in it."""
        self._db.close()

    def _remove(self, seq: int) -> None:
        row = self._db.execute("DELETE FROM message WHERE seq = ? RETURNING length(payload)", (seq,)).fetchone()
        if row:
            self.count -= 1
            self._bytes -= row[0]
