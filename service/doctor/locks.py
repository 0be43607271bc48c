"""Who has a file: locked it, or merely opened it."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FLOCK = "hhqqi"
"""struct flock of 64-bit Linux: type, whence, start, length, process (fcntl(2))."""


def locked_by(path: Path) -> int | None:
    """The process that has locked any part of a file, such as the daemon its outbox.

    It is asked without locking anything; None also when the file cannot be read. A process that cannot be seen from
    here (another namespace) is 0.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Would a lock for writing, on all of it, be in somebody's way?
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack_from(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else max(0, pid)


def holders(path: Path, proc: Path = Path("/proc")) -> Iterator[tuple[int, str]]:
    """(process, its name) of all that have a file open: as far as this user may see, root sees them all."""
    try:
        wanted = path.stat()
    except OSError:
        return
    for process in sorted(proc.glob("[0-9]*"), key=lambda folder: int(folder.name)):
        with suppress(OSError):  # not ours, or gone meanwhile
            if int(process.name) != os.getpid() and any(_is(entry, wanted) for entry in (process / "fd").iterdir()):
                yield int(process.name), (process / "comm").read_text(encoding="utf-8", errors="replace").strip()


def _is(entry: Path, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        found = entry.stat()
        # A device may have several files; it is one all the same.
        return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) or 0 != found.st_rdev == wanted.st_rdev
    return False
