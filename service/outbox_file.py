"""The file of the outbox: opening it whatever state it is in, and saving what can be saved.

A damaged file is never written over. What can still be read of it goes into `NAME.rescue`, which is renamed to
`NAME.rescued` when it is complete; then the damaged one is renamed to `NAME.corrupt-TIME` and the new one takes its
place; the last few of those are kept. A power cut anywhere in between is mended by the next opening.
"""

import glob
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.errors import PermanentError

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
COLUMNS = "seq, line, topic, payload, decided_at_ns, correlation"
"""In the order of `Message`; a file that began as version 1 has them in another one."""
BUSY_S = 1.0
WAL_BYTES = 4 * 1024 * 1024
PROBES = 1_000_000
ASIDE_KEPT = 3

_SCHEMA = """
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of emission; never used twice
    line TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    decided_at_ns INTEGER NOT NULL,
    correlation BLOB
);
CREATE TABLE line (name TEXT PRIMARY KEY, last_part INTEGER NOT NULL) WITHOUT ROWID;
"""
_FROM_1_TO_2 = """
ALTER TABLE message ADD COLUMN line TEXT NOT NULL DEFAULT '';
ALTER TABLE message ADD COLUMN correlation BLOB;
UPDATE message SET line = coalesce(json_extract(CAST(payload AS TEXT), '$.line'), '')
    WHERE json_valid(CAST(payload AS TEXT));
"""
INSERT = f"INSERT OR IGNORE INTO message ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608  # a constant


class OutboxError(PermanentError):
    """The outbox cannot be used."""


class _DamagedError(Exception):
    """What is in the file is not what was written."""


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is malformed or no database. For all else it raises a subclass."""
    return type(error) is sqlite3.DatabaseError


def is_io_error(error: BaseException) -> bool:
    """Whether the disk failed under SQLite: the file has to be looked at again."""
    return isinstance(error, sqlite3.OperationalError) and "I/O" in str(error)


def open_writable(path: Path) -> sqlite3.Connection:
    """The outbox for us alone, made if it is not there, brought to today's schema, checked, and rescued if need be.

    Raises:
        OutboxError: another edgecls has it, a newer edgecls wrote it, or it is a database of something else.
        sqlite3.Error, OSError: it cannot be written now.
    """
    _put_rescued_in_place(path)
    try:
        return _opened(path)
    except _DamagedError as damage:
        why = str(damage)
    saved = _rescue(path)
    aside = _put_rescued_in_place(path)
    log.error(
        "outbox %s was damaged (%s): it lies as %s now, and the %d decisions that could be read are in the new one",
        path,
        why,
        aside,
        saved,
    )
    return _opened(path)


def open_snapshot(path: Path) -> sqlite3.Connection | None:
    """What is in a file that cannot be written now, as a database in memory; None when there is no file.

    Raises:
        OutboxError: as `open_writable`, or it cannot be read either.
    """
    if not path.exists():
        return None
    try:
        # A WAL that is still there can only be read by writing beside it.
        with tempfile.TemporaryDirectory(prefix="edgecls-") as folder:
            copy = Path(folder) / path.name
            for suffix in ("", "-wal"):
                if Path(f"{path}{suffix}").exists():
                    shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
            with closing(open_writable(copy)) as db:
                memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                memory.text_factory = _text
                db.backup(memory)
                return memory
    except (sqlite3.Error, OSError) as error:
        raise OutboxError(cannot_be_used(path, error)) from error


def cannot_be_used(path: Path, error: object) -> str:
    """The sentence for people about a file that is of no use."""
    return (
        f"outbox {path} cannot be used ({error}): check that its directory exists, may be written by this user "
        "and has space, or set outbox.path"
    )


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.text_factory = _text
    try:
        # Exclusive first: then the WAL needs no shared memory file, and nobody else can send the same decisions.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        _prepare(db, path)
    except BaseException as error:
        with suppress(sqlite3.Error):
            db.close()
        if is_damage(error):
            raise _DamagedError(str(error)) from error
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise OutboxError(
                f"outbox {path} is in use by another edgecls: stop that one, or set outbox.path"
            ) from error
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version > SCHEMA_VERSION:
        raise OutboxError(f"outbox {path} was written by a newer edgecls: install that version, or set outbox.path")
    if version == 0 and tables:
        raise OutboxError(f"outbox {path} is a database of something else: set outbox.path")
    _check(db)
    if version < SCHEMA_VERSION:
        _bring_up_to_date(db, version)


def _text(stored: bytes) -> str:
    """A damaged letter in a name is no reason to stop."""
    return stored.decode(errors="replace")


def _check(db: sqlite3.Connection) -> None:
    try:
        (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if is_io_error(error):
            raise _DamagedError(str(error)) from error
        raise
    if finding != "ok":
        raise _DamagedError(" ".join(str(finding).split()))


def _bring_up_to_date(db: sqlite3.Connection, version: int) -> None:
    change = _FROM_1_TO_2 if version == 1 else _SCHEMA
    db.executescript(f"BEGIN IMMEDIATE; {change} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _put_rescued_in_place(path: Path) -> Path:
    """Where the damaged one lies. Does nothing when there was no rescue."""
    aside = path.with_name(f"{path.name}.corrupt-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}")
    rescued = Path(f"{path}.rescued")
    if rescued.exists():
        # The WAL first: beside the new file it would be taken for the new one's.
        for suffix in ("-wal", ""):
            if Path(f"{path}{suffix}").exists():
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
        rescued.rename(path)
        _sync(path.parent)
        _forget_old_ones(path)
    return aside


def _forget_old_ones(path: Path) -> None:
    """A disk that damages its files again and again must not be filled up with them."""
    stamps = {found.name.removesuffix("-wal") for found in path.parent.glob(f"{glob.escape(path.name)}.corrupt-*")}
    for name in sorted(stamps)[:-ASIDE_KEPT]:
        for suffix in ("-wal", ""):
            path.with_name(f"{name}{suffix}").unlink(missing_ok=True)


def _rescue(path: Path) -> int:
    """Write `NAME.rescued`. Returns how many decisions are in it."""
    rescue = Path(f"{path}.rescue")
    for suffix in ("", "-wal", "-journal"):
        Path(f"{rescue}{suffix}").unlink(missing_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as old, closing(_opened(rescue)) as new:
        old.execute("PRAGMA locking_mode = EXCLUSIVE")
        old.text_factory = bytes  # a damaged name must not hide its row
        new.execute("BEGIN IMMEDIATE")
        saved = _copy_messages(old, new)
        _copy_numbers(old, new)
        new.execute("COMMIT")
    rescue.rename(f"{path}.rescued")
    return saved


def _copy_messages(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    saved = 0
    for row in _readable_messages(old):
        try:
            seq, topic, payload, decided_at_ns = (row[key] for key in ("seq", "topic", "payload", "decided_at_ns"))
            message = json.loads(payload)
            line, part = str(message["line"]), int(message["part"])
            values = (int(seq), line, topic.decode(), payload, int(decided_at_ns), row.get("correlation"))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        saved += new.execute(INSERT, values).rowcount
        _raise_number(new, line, part)
    return saved


def _copy_numbers(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """`part` and `seq` go on where they were, even when no message was left."""
    for row in [
        *_until_damage(old, "SELECT * FROM line"),
        *_until_damage(old, "SELECT * FROM line ORDER BY name DESC"),
    ]:
        with suppress(ValueError, TypeError, AttributeError, OverflowError):
            _raise_number(new, row["name"].decode(), int(row["last_part"]))
    for row in _until_damage(old, "SELECT max(seq) AS seq FROM sqlite_sequence WHERE name = 'message'"):
        if isinstance(row["seq"], int):
            # Inserting and removing a row is what makes SQLite remember the number.
            new.execute(INSERT, (row["seq"], "", "", b"", 0, None))
            new.execute("DELETE FROM message WHERE topic = ''")


def _raise_number(db: sqlite3.Connection, line: str, part: int) -> None:
    db.execute(
        "INSERT INTO line VALUES (?, ?) ON CONFLICT DO UPDATE SET last_part = max(last_part, excluded.last_part)",
        (line, part),
    )


def _readable_messages(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """From the front up to the damage, from the back down to it, and what lies readable in between."""
    first = last = 0
    for row in _until_damage(db, "SELECT * FROM message ORDER BY seq"):
        first = row["seq"]
        yield row
    for row in _until_damage(db, "SELECT * FROM message ORDER BY seq DESC"):
        if row["seq"] <= first:
            return
        last = row["seq"]
        yield row
    for seq in range(first + 1, min(last, first + PROBES)):
        yield from _until_damage(db, "SELECT * FROM message WHERE seq = ?", seq)


def _until_damage(db: sqlite3.Connection, query: str, *values: int) -> Iterator[dict[str, Any]]:
    with suppress(sqlite3.DatabaseError):
        rows = db.execute(query, values)
        names = [column[0] for column in rows.description]
        for row in rows:
            yield dict(zip(names, row, strict=True))


def _sync(folder: Path) -> None:
    """A rename is on disk when its directory is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
