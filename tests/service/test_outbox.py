"""The invariants at the top of `service/outbox.py`, one test each, on a real file."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from service.outbox import NewMessage, Outbox, OutboxError


def new(part: int, line: str = "line1", size: int = 100) -> NewMessage:
    return NewMessage(line, part, f"factory/{line}/defects", f"{part:06d}".ljust(size, ".").encode(), part)


def opened(path: Path, max_bytes: int = 1_000_000) -> Outbox:
    return Outbox(path / "outbox.db", max_bytes)


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(1), new(2)], [])
    outbox.close()
    again = opened(tmp_path)
    assert again.count == 2
    assert [m.payload[:6].decode() for m in again.after(0, 10)] == ["000001", "000002"]


def test_what_was_stored_is_there_when_the_process_is_killed(tmp_path: Path) -> None:
    """Another connection sees it at once: it was committed, not only written."""
    outbox = opened(tmp_path)
    outbox.update([new(1)], [])
    other = sqlite3.connect(tmp_path / "outbox.db")
    assert other.execute("SELECT count(*) FROM message").fetchone() == (1,)
    other.close()
    outbox.close()


def test_it_is_removed_when_it_was_acknowledged(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(1), new(2), new(3)], [])
    second = outbox.after(0, 10)[1].seq
    outbox.update([], [second])
    assert [m.payload[:6].decode() for m in outbox.after(0, 10)] == ["000001", "000003"]
    assert outbox.count == 2


def test_an_acknowledgement_that_comes_twice_is_harmless(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(1), new(2)], [])
    first = outbox.after(0, 1)[0].seq
    outbox.update([], [first, first])
    outbox.update([], [first])
    assert outbox.count == 1


def test_order_is_kept_over_restarts_and_removals(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(1), new(2)], [])
    outbox.update([], [m.seq for m in outbox.after(0, 10)])
    outbox.close()
    again = opened(tmp_path)
    again.update([new(3)], [])
    again.update([new(4)], [])
    messages = again.after(0, 10)
    assert [m.payload[:6].decode() for m in messages] == ["000003", "000004"]
    assert messages[0].seq > 2, "a number that was used before would confuse what is in flight"


def test_only_what_is_newer_than_the_last_one_sent(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(part) for part in range(1, 8)], [])
    first = outbox.after(0, 3)
    assert [m.payload[:6].decode() for m in outbox.after(first[-1].seq, 3)] == ["000004", "000005", "000006"]


def test_numbers_of_each_line_go_on(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    assert outbox.last_part("line1") == 0
    outbox.update([new(1), new(1, "line2"), new(2), new(3)], [])
    outbox.update([], [m.seq for m in outbox.after(0, 10)])
    outbox.close()
    again = opened(tmp_path)
    assert (again.last_part("line1"), again.last_part("line2"), again.last_part("line3")) == (3, 1, 0)


def test_it_stays_within_its_bytes_and_counts_what_it_evicts(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=1000)
    for part in range(1, 31):
        outbox.update([new(part)], [])
    assert (outbox.count, outbox.evicted) == (10, 20)
    assert [m.payload[:6].decode() for m in outbox.after(0, 100)] == [f"{part:06d}" for part in range(21, 31)]
    outbox.close()
    again = opened(tmp_path, max_bytes=1000)
    again.update([new(31)], [])
    assert again.count == 10


def test_a_message_and_its_number_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(1)], [])
    blocker = sqlite3.connect(tmp_path / "outbox.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    outbox._db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(sqlite3.OperationalError):
        outbox.update([new(2)], [1])
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (outbox.last_part("line1"), outbox.count) == (1, 1)
    outbox.update([new(2)], [])
    assert outbox.last_part("line1") == 2


def test_what_failed_is_not_counted_either(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.update([new(1)], [])
    first = outbox.after(0, 1)[0].seq
    unstorable = replace(new(2), topic=None)  # type: ignore[arg-type]  # the column takes no NULL: it fails half-way
    with pytest.raises(sqlite3.IntegrityError):
        outbox.update([unstorable], [first])
    assert (outbox.count, len(outbox.after(0, 10)), outbox.last_part("line1")) == (1, 1, 1)
    outbox.update([], [first])
    assert (outbox.count, outbox._bytes) == (0, 0)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"outbox .*file/outbox\.db cannot be used .*check that its directory exists"):
        opened(tmp_path / "file")


def test_a_file_that_is_no_outbox(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"no database, but long enough to have been one" * 100)
    with pytest.raises(OutboxError, match=r"outbox\.db cannot be used .*set outbox\.path"):
        opened(tmp_path)


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    opened(tmp_path).close()
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match="written by a newer edgecls: install that version"):
        opened(tmp_path)
