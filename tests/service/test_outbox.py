"""The invariants at the top of `service/outbox.py`, on a real file. The state of the file: `test_outbox_file.py`."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from service.outbox import Message, Outbox, OutboxWriteError


def new(seq: int, line: str = "line1", size: int = 100) -> Message:
    return Message(seq, line, f"factory/{line}/defects", f"{seq:06d}".ljust(size, ".").encode(), seq)


def opened(path: Path, max_bytes: int = 1_000_000) -> Outbox:
    return Outbox(path / "outbox.db", max_bytes)


def store(outbox: Outbox, messages: Iterable[Message]) -> dict[str, int]:
    messages = list(messages)
    return dict(outbox.update(messages, [], {m.line: m.seq for m in messages}))


def seqs(outbox: Outbox) -> list[int]:
    found = [m.seq for m in outbox.after(0, 1000)]
    assert [int(m.payload[:6]) for m in outbox.after(0, 1000)] == found
    return found


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    message = replace(new(1), correlation=b"\x00asked")
    store(outbox, [message, new(2)])
    outbox.close()
    again = opened(tmp_path)
    assert again.count == 2
    assert again.after(0, 10) == [message, new(2)]


def test_what_was_stored_is_there_when_the_process_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from service.outbox import Message, Outbox\n"
        "outbox = Outbox(Path(sys.argv[1]), 1000)\n"
        "outbox.update([Message(1, 'line1', 'a/b', b'000001', 1)], [], {'line1': 1})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "outbox.db")], cwd=ROOT, check=False)
    assert killed.returncode == -9
    outbox = opened(tmp_path)
    assert (seqs(outbox), outbox.last_part("line1")) == ([1], 1)


def test_what_was_acknowledged_out_of_order_leaves_the_others_alone(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    store(outbox, [new(number) for number in range(1, 11)])
    outbox.update([], {9, 2, 3, 5, 12}, {})
    assert (seqs(outbox), outbox.count) == ([1, 4, 6, 7, 8, 10], 6)


def test_it_is_removed_when_it_was_acknowledged(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    store(outbox, [new(1), new(2), new(3)])
    outbox.update([], [2], {})
    assert (seqs(outbox), outbox.count) == ([1, 3], 2)
    outbox.close()
    assert seqs(opened(tmp_path)) == [1, 3]


def test_an_acknowledgement_that_comes_twice_is_harmless(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    store(outbox, [new(1), new(2)])
    outbox.update([], [1, 1], {})
    outbox.update([], [1], {})
    assert (seqs(outbox), outbox.count) == ([2], 1)


def test_order_is_kept_over_restarts_and_removals_and_no_seq_comes_twice(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    store(outbox, [new(1), new(2)])
    outbox.update([], [1, 2], {})
    outbox.close()
    again = opened(tmp_path)
    assert (again.count, again.last_seq) == (0, 2)
    store(again, [new(3)])
    store(again, [new(4)])
    assert (seqs(again), again.last_seq) == ([3, 4], 4)


def test_only_what_is_newer_than_the_last_one_sent(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    store(outbox, [new(seq) for seq in range(1, 8)])
    assert [m.seq for m in outbox.after(3, 3)] == [4, 5, 6]


def test_numbers_of_each_line_go_on(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    assert outbox.last_part("line1") == 0
    store(outbox, [new(1), new(2, "line2"), new(3)])
    outbox.update([], [1, 2, 3], {})
    outbox.close()
    again = opened(tmp_path)
    assert (again.last_part("line1"), again.last_part("line2"), again.last_part("line3")) == (3, 2, 0)


def test_a_message_and_its_number_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    """It fails half-way: the column takes no NULL."""
    outbox = opened(tmp_path)
    store(outbox, [new(1)])
    unstorable = replace(new(3), payload=None, topic=None)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises((OutboxWriteError, TypeError)):
        outbox.update([new(2), unstorable], [1], {"line1": 3})
    db = outbox._db
    assert db is not None
    db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON line BEGIN SELECT raise(FAIL, 'disk is full'); END")
    with pytest.raises(OutboxWriteError, match="disk is full"):
        outbox.update([new(2)], [1], {"line1": 2})
    assert (seqs(outbox), outbox.count, outbox._bytes, outbox.last_part("line1")) == ([1], 1, 100, 1)
    db.execute("DROP TRIGGER full")
    outbox.update([new(2)], [1], {"line1": 2})
    outbox.close()
    again = opened(tmp_path)
    assert (seqs(again), again.count, again._bytes, again.last_part("line1")) == ([2], 1, 100, 2)


def test_storing_again_what_had_reached_the_disk_is_harmless(tmp_path: Path) -> None:
    """As after a commit whose fsync failed."""
    outbox = opened(tmp_path)
    store(outbox, [new(1), new(2)])
    store(outbox, [new(2), new(3)])
    assert (seqs(outbox), outbox.count, outbox._bytes) == ([1, 2, 3], 3, 300)


def test_every_call_is_one_transaction(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=1000)
    store(outbox, [new(seq) for seq in range(1, 11)])
    commits: list[str] = []
    assert outbox._db is not None
    outbox._db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    outbox.update([new(seq) for seq in range(11, 16)], [1, 2], {"line1": 15})
    assert (commits, outbox.count) == (["COMMIT"], 10)


def test_it_stays_within_its_bytes_and_counts_what_it_evicts_by_line(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=1000)
    evicted = [store(outbox, [new(seq, "line1" if seq % 3 else "line2")]) for seq in range(1, 31)]
    assert evicted[:10] == [{}] * 10
    assert [sum(each.get(line, 0) for each in evicted) for line in ("line1", "line2")] == [14, 6]
    assert (seqs(outbox), outbox.count) == (list(range(21, 31)), 10)
    outbox.close()
    again = opened(tmp_path, max_bytes=1000)
    assert store(again, [new(31)]) == {"line2": 1}  # seq 21
    assert again.count == 10


def test_a_message_larger_than_everything_evicts_itself_and_nothing_else(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=1000)
    store(outbox, [new(1), new(2)])
    assert store(outbox, [new(3, size=1001), new(4)]) == {"line1": 1}
    assert (seqs(outbox), outbox._bytes) == ([1, 2, 4], 300)


def test_the_file_does_not_grow_with_what_has_passed_through_it(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=500_000)
    sizes = []
    for batch in range(60):
        first = batch * 100 + 1
        store(outbox, [new(seq, size=700) for seq in range(first, first + 100)])
        if batch % 3 == 2:
            outbox.update([], range(first - 200, first + 60), {})
        sizes.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
    assert max(sizes) < 500_000 * 1.5 + 6 * 1024 * 1024
    assert max(sizes[40:]) <= max(sizes[:40]) * 1.05


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    code = "import sys; from pathlib import Path; from service.outbox import Outbox; Outbox(Path(sys.argv[1]), 1000)"
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "outbox.db")],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 1
    assert "is in use by another edgecls: stop that one, or set outbox.path" in second.stderr
    store(outbox, [new(1)])
    outbox.close()
    sqlite3.connect(tmp_path / "outbox.db").execute("SELECT * FROM message").fetchall()
