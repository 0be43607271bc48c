"""An outbox file that is old, of the future, damaged, read-only or not there: nothing stored is lost."""

import json
import logging
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.outbox import Message, Outbox, OutboxWriteError
from service.outbox_file import OutboxError


def decision(seq: int, line: str = "line1") -> Message:
    payload = json.dumps({"line": line, "part": seq, "pad": "." * 600, "late": False}).encode()
    return Message(seq, line, f"factory/{line}/defects", payload, seq, b"c")


def filled(path: Path, count: int) -> Path:
    outbox = Outbox(path / "outbox.db", 10_000_000)
    outbox.update([decision(seq) for seq in range(1, count + 1)], [], {"line1": count, "line2": 7})
    outbox.close()
    return path / "outbox.db"


def everything(outbox: Outbox) -> list[int]:
    messages = outbox.after(0, 1_000_000)
    assert messages == [decision(m.seq) for m in messages]
    return [m.seq for m in messages]


def damage(path: Path, pages: range) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)


def aside(path: Path) -> list[Path]:
    return sorted(path.glob("outbox.db.corrupt-*"))


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.executescript("""
        PRAGMA journal_mode = WAL;
        CREATE TABLE message (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, payload BLOB NOT NULL,
            decided_at_ns INTEGER NOT NULL
        );
        CREATE TABLE line (name TEXT PRIMARY KEY, last_part INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO line VALUES ('line1', 3), ('line2', 1);
        PRAGMA user_version = 1;
    """)
    old = [decision(1), decision(2, "line2"), decision(3)]
    db.executemany("INSERT INTO message VALUES (?, ?, ?, ?)", [(m.seq, m.topic, m.payload, m.seq) for m in old])
    db.execute("INSERT INTO message VALUES (4, 'a/b', 'no JSON', 4)")
    db.execute("DELETE FROM message WHERE seq = 4")
    db.commit()
    db.close()
    for _ in range(2):
        outbox = Outbox(tmp_path / "outbox.db", 10_000_000)
        assert [(m.seq, m.line, m.payload, m.correlation) for m in outbox.after(0, 10)] == [
            (m.seq, m.line, m.payload, None) for m in old
        ]
        assert (outbox.count, outbox.last_seq) == (3, 4)
        assert (outbox.last_part("line1"), outbox.last_part("line2")) == (3, 1)
        outbox.close()
    again = Outbox(tmp_path / "outbox.db", 10_000_000)
    again.update([decision(5)], [1, 2, 3], {"line1": 5})
    assert everything(again) == [5]


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = filled(tmp_path, 1)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(OutboxError, match="written by a newer edgecls: install that version"):
        Outbox(path, 1000)
    assert (path.read_bytes(), aside(tmp_path)) == (before, [])


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "outbox.db")
    db.execute("CREATE TABLE other (a)")
    db.close()
    with pytest.raises(OutboxError, match=r"is a database of something else: set outbox\.path"):
        Outbox(tmp_path / "outbox.db", 1000)
    assert aside(tmp_path) == []


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    garbage = b"no database, but long enough to have been one" * 100
    (tmp_path / "outbox.db").write_bytes(garbage)
    outbox = Outbox(tmp_path / "outbox.db", 1_000_000)
    outbox.update([decision(1)], [], {"line1": 1})
    assert everything(outbox) == [1]
    (lies,) = aside(tmp_path)
    assert lies.read_bytes() == garbage
    assert f"it lies as {lies} now, and the 0 decisions that could be read are in the new one" in caplog.text


def test_of_many_damaged_files_the_last_ones_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / "outbox.db").write_bytes(b"no database" * 1000 + bytes([number]))
        Outbox(tmp_path / "outbox.db", 1_000_000).close()
    assert [path.read_bytes()[-1] for path in aside(tmp_path)] == [2, 3, 4]


def test_what_can_be_read_of_a_damaged_file_is_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = filled(tmp_path, 2000)
    pages = path.stat().st_size // 4096
    for quarter in (pages // 4, 3 * pages // 4):  # what lies between is saved, too
        damage(path, range(quarter, quarter + 4))
    damaged = path.read_bytes()
    outbox = Outbox(path, 10_000_000)
    saved = everything(outbox)
    assert 1900 < len(saved) < 2000
    assert (saved[0], saved[-1]) == (1, 2000)
    assert outbox.count == len(saved)
    assert (outbox.last_seq, outbox.last_part("line1"), outbox.last_part("line2")) == (2000, 2000, 7)
    assert f"the {len(saved)} decisions that could be read are in the new one" in caplog.text
    assert [file.read_bytes() for file in aside(tmp_path)] == [damaged]
    outbox.close()
    again = Outbox(path, 10_000_000)
    assert everything(again) == saved
    assert len(aside(tmp_path)) == 1


def test_numbers_go_on_when_no_message_was_left_to_tell_them(tmp_path: Path) -> None:
    path = filled(tmp_path, 500)
    outbox = Outbox(path, 10_000_000)
    outbox.update([], range(1, 501), {})
    outbox.close()
    db = sqlite3.connect(path)
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_master SET rootpage = 9 WHERE name = 'message'")  # a page that is free
    db.commit()
    db.close()
    assert free > 10
    again = Outbox(path, 10_000_000)
    assert len(aside(tmp_path)) == 1
    assert (again.count, again.last_seq, again.last_part("line1"), again.last_part("line2")) == (0, 500, 500, 7)


def test_damage_that_shows_while_it_is_used_is_mended_without_a_restart(tmp_path: Path) -> None:
    path = filled(tmp_path, 8000)  # more than SQLite keeps in memory
    outbox = Outbox(path, 10_000_000)
    damage(path, range(100, 104))
    read = outbox.after(0, 1_000_000)
    assert (read, outbox.suspect) == ([], True)
    openings = outbox.openings
    outbox.update([decision(8001)], [1], {"line1": 8001})
    assert (outbox.openings, outbox.suspect) == (openings + 1, False)
    saved = everything(outbox)
    assert 7900 < len(saved) < 8000
    assert (saved[0], saved[-1], outbox.count) == (2, 8001, len(saved))
    assert len(aside(tmp_path)) == 1


@pytest.mark.parametrize("done", ["nothing", "wal", "both"])
def test_a_rescue_that_a_power_cut_interrupted_is_finished(tmp_path: Path, done: str) -> None:
    """The good file is complete as `.rescued`; the damaged one and its WAL lie in its place, or not any more."""
    filled(tmp_path, 5).rename(tmp_path / "outbox.db.rescued")
    if done != "both":
        (tmp_path / "outbox.db").write_bytes(b"damaged" * 1000)
    if done == "nothing":
        (tmp_path / "outbox.db-wal").write_bytes(b"of the damaged one" * 1000)
    outbox = Outbox(tmp_path / "outbox.db", 10_000_000)
    assert everything(outbox) == [1, 2, 3, 4, 5]
    assert len(aside(tmp_path)) == {"nothing": 2, "wal": 1, "both": 0}[done]
    assert not (tmp_path / "outbox.db.rescued").exists()


def test_a_rescue_that_was_not_complete_is_done_again(tmp_path: Path) -> None:
    path = filled(tmp_path, 100)
    damage(path, range(5, 6))
    (tmp_path / "outbox.db.rescue").write_bytes(b"half of it")
    saved = everything(Outbox(path, 10_000_000))
    assert 80 < len(saved) < 100
    assert not (tmp_path / "outbox.db.rescue").exists()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"outbox .*file/outbox\.db cannot be used .*check that its directory exists"):
        Outbox(tmp_path / "file" / "outbox.db", 1000)


def test_a_directory_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").mkdir()
    with pytest.raises(OutboxError, match=r"outbox\.db cannot be used .*set outbox\.path"):
        Outbox(tmp_path / "outbox.db", 1000)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that is mounted read-only over itself; `writable` makes it writable again."""
    folder = tmp_path / "disk"
    folder.mkdir()
    filled(folder, 5)
    if subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def writable(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,bind,rw", folder], check=True)


def test_a_read_only_disk(read_only: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = read_only / "outbox.db"
    outbox = Outbox(path, 10_000_000)
    assert "cannot be written" in outbox.problem
    assert f"make {path} and its directory writable" in outbox.problem
    assert (everything(outbox), outbox.last_seq, outbox.last_part("line1")) == ([1, 2, 3, 4, 5], 5, 5)
    for _ in range(2):
        with pytest.raises(OutboxWriteError, match=r"make .*outbox\.db and its directory writable"):
            outbox.update([decision(6)], [1], {"line1": 6})
    assert everything(outbox) == [1, 2, 3, 4, 5]
    writable(read_only)
    outbox.update([decision(6)], [1, 2], {"line1": 6})
    assert (everything(outbox), outbox.count, outbox.problem) == ([3, 4, 5, 6], 4, "")
    outbox.close()
    assert everything(Outbox(path, 10_000_000)) == [3, 4, 5, 6]


def test_a_read_only_disk_without_a_file(read_only: Path) -> None:
    outbox = Outbox(read_only / "new.db", 10_000_000)
    assert "cannot be written" in outbox.problem
    assert (everything(outbox), outbox.count) == ([], 0)
    seq = outbox.last_seq + 1
    with pytest.raises(OutboxWriteError):
        outbox.update([decision(seq)], [], {"line1": 1})
    writable(read_only)
    outbox.update([decision(seq)], [], {"line1": 1})
    assert everything(outbox) == [seq]


def test_what_is_still_in_the_wal_of_a_read_only_disk_is_read(read_only: Path) -> None:
    writable(read_only)
    source = Outbox(read_only / "source.db", 10_000_000)
    source.update([decision(1)], [], {"line1": 1})
    for suffix in ("", "-wal"):
        (read_only / f"source.db{suffix}").with_name(f"copy.db{suffix}").write_bytes(
            (read_only / f"source.db{suffix}").read_bytes()
        )
    source.close()
    subprocess.run(["mount", "-o", "remount,bind,ro", read_only], check=True)
    assert everything(Outbox(read_only / "copy.db", 10_000_000)) == [1]
