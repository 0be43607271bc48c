"""How much waits in the outbox. It is read from a copy: nothing is written beside the file, not even by SQLite."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from service.doctor.case import Case
from service.doctor.finding import Finding, error, note, ok, warning

_OLD_S = 3600.0
_MEBI = 1 << 20


def backlog(case: Case) -> Iterator[Finding]:
    """What has not reached the broker yet."""
    file = Path(case.outbox.path)
    yield from _set_aside(file)
    if case.daemon_pid is not None:
        yield ok("outbox", f"the daemon works with it (process {case.daemon_pid})", process=case.daemon_pid)
        return
    if not file.exists():
        yield ok("outbox", "nothing waits: there is none yet", waiting=0)
        return
    try:
        count, size, oldest_ns = _waiting(file)
    except PermissionError:
        yield note("outbox", f"this user may not read {file}", "sudo edgecls doctor --section service")
        return
    except (OSError, sqlite3.Error) as reason:
        text = f"{file} cannot be read ({reason}): the daemon saves what it can of it when it starts"
        yield error("outbox", text, "sudo systemctl restart edgecls; the damaged one is kept beside it")
        return
    if not count:
        yield ok("outbox", "nothing waits", waiting=0)
        return
    age_s = max(0.0, time.time() - oldest_ns / 1e9)
    facts = {"waiting": count, "mib": round(size / _MEBI, 2), "oldest_s": round(age_s)}
    full = size / (case.outbox.max_mib * _MEBI)
    text = (
        f"{count} decisions wait for the broker, the oldest for {age_s / 3600:.1f} h, in {full:.0%} of outbox.max_mib"
    )
    if full > 0.5 or age_s > _OLD_S:
        yield warning(
            "outbox", text, "see the broker's findings: edgecls doctor --section broker; then start the daemon", **facts
        )
    else:
        yield note("outbox", text, "start the daemon: sudo systemctl start edgecls", **facts)


def _waiting(file: Path) -> tuple[int, int, int]:
    """Messages, their bytes, when the oldest was decided (nanoseconds since 1970).

    Raises:
        OSError, sqlite3.Error: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="edgecls-doctor-") as folder:
        copy = Path(folder) / "outbox.db"
        for suffix in ("", "-wal"):
            if Path(f"{file}{suffix}").exists():
                shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as db:
            (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if finding != "ok":
                raise sqlite3.DatabaseError(" ".join(str(finding).split()))
            query = "SELECT count(*), coalesce(sum(length(payload)), 0), coalesce(min(decided_at_ns), 0) FROM message"
            count, size, oldest_ns = db.execute(query).fetchone()
            return int(count), int(size), int(oldest_ns)


def _set_aside(file: Path) -> Iterator[Finding]:
    """What a rescue has left behind."""
    try:
        found = sorted(file.parent.glob(f"{file.name}.corrupt-*"))
    except OSError:
        return
    if whole := [one for one in found if not one.name.endswith("-wal")]:
        text = f"it was damaged at some time: {len(whole)} damaged files are kept beside it, {whole[-1].name} last"
        yield warning("outbox", text, f"check the disk (sudo dmesg), then remove {file}.corrupt-*", files=len(whole))
