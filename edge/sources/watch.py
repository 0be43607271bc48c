"""A folder into which a machine drops pictures: each is inspected once, when it is complete, whatever is restarted.

Which ones were inspected is kept in a record: 8 bytes for each, made of its name, size and time of change. A file
counts as inspected when the next one is asked for: what ends the daemon in between makes one be inspected again, and
none be left out.
"""

import fnmatch
import glob
import hashlib
import heapq
import os
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge.clock import Clock
from edge.errors import BadFrameError, SourceError, SourceNotUsableError
from edge.frame import Frame, Image
from edge.sources.images import read_image, readable

TURN_S = 0.25
SETTLED_S = 0.5
"""Without a change for so long, a file may be complete."""
GIVEN_UP_S = 10.0
"""Without a change for so long, a file that cannot be read will not get better."""
IDLE_S = 5.0
BATCH = 5000
"""Files that are known by name while they wait for their turn."""
REST = 4
"""A look at the folder is followed by a pause of so many times what it took: a million files take seconds."""
_SPARE = 100_000


@dataclass(slots=True)
class _Candidate:
    """A file that was not inspected yet: what it is like, since when, and when to try it (monotonic, seconds)."""

    path: str
    key: int
    changed_ns: int
    since: float
    try_at: float


class _Record:
    """The keys of what was inspected: sorted, with the newest apart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sorted = array("Q")
        self._new: set[int] = set()

    def open(self) -> None:
        try:
            self._path.touch()
            data = self._path.read_bytes()
            if len(data) % 8:  # a power cut in the middle of one
                os.truncate(self._path, len(data) // 8 * 8)
        except OSError as error:
            raise SourceNotUsableError(
                f"{self._path} cannot be written, which is to say what was inspected ({error.strerror}): "
                "give the user edgecls its folder"
            ) from error
        self._sorted = array("Q", sorted(set(array("Q", data[: len(data) // 8 * 8]))))
        self._new = set()

    def __contains__(self, key: int) -> bool:
        if key in self._new:
            return True
        place = bisect_left(self._sorted, key)
        return place < len(self._sorted) and self._sorted[place] == key

    def add(self, key: int) -> None:
        self._new.add(key)
        with suppress(OSError), self._path.open("ab") as file:  # a full disk: inspected again after a restart
            file.write(key.to_bytes(8, sys.byteorder))

    def forget_all_but(self, keys: Sequence[int]) -> None:
        """When most of what it knows is gone from the folder. An empty folder may be one that is not mounted."""
        if not keys or len(self._sorted) + len(self._new) < 2 * len(keys) + _SPARE:
            return
        kept = array("Q", sorted(key for key in keys if key in self))
        half_done = self._path.with_suffix(".new")
        with suppress(OSError):
            half_done.write_bytes(kept.tobytes())
            half_done.replace(self._path)
            self._sorted, self._new = kept, set()


class WatchSource:
    """Image files as they come, the oldest first.

    Args:
        line: its name.
        pattern: of their paths, such as `drop/*.png`, or a folder.
        clock: the time.
        record: the file that says what was inspected.
    """

    live = False
    on_demand = False
    ahead = False
    dropped = 0

    def __init__(self, line: str, pattern: str, clock: Clock, record: Path) -> None:
        self._line = line
        self._pattern = str(Path(pattern) / "*") if Path(pattern).is_dir() else pattern
        self._clock = clock
        self._record = _Record(record)
        self._candidates: dict[str, _Candidate] = {}
        self._inspecting: int | None = None
        self._looking: Iterator[_Candidate | None] | None = None
        self._found: list[_Candidate] = []
        self._keys = array("Q")
        self._look_took = 0.0
        self._look_at = 0.0
        self._quiet_since = 0.0
        self._seq = 0

    def open(self) -> None:
        self._record.open()
        self._quiet_since = self._now()

    def read(self, into: Image | None = None) -> Frame | None:  # noqa: ARG002  # OpenCV decodes images into new memory
        """The next file.

        Raises:
            BadFrameError: this one is damaged.
            SourceError: there has been none for a while, or the folder is not there.
            TimeoutError: there is none yet.
        """
        self._close_the_last()
        turn_ends = self._now() + TURN_S
        while (now := self._now()) < turn_ends:
            if now >= self._look_at:
                self._look(now, turn_ends)
            settled = (c for c in self._candidates.values() if now >= c.try_at)
            candidate = min(settled, key=lambda c: (c.changed_ns, c.path), default=None)
            if candidate is not None and (frame := self._take(candidate)) is not None:
                return frame
            self._clock.sleep(min(TURN_S / 5, turn_ends - now))
        if now - self._quiet_since > IDLE_S:
            raise SourceError(f"no new file matches {readable(self._pattern)}")
        raise TimeoutError

    def close(self) -> None:
        self._close_the_last()
        self._candidates = {}

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def _close_the_last(self) -> None:
        if self._inspecting is not None:
            self._record.add(self._inspecting)
            self._inspecting = None

    def _take(self, candidate: _Candidate) -> Frame | None:
        """Its frame; nothing when it is not complete, or has changed meanwhile."""
        before = self._key_of(candidate.path)
        if before is not None and before[0] == candidate.key:
            try:
                image = read_image(Path(candidate.path))
            except BadFrameError:
                if self._now() - candidate.since < GIVEN_UP_S:
                    candidate.try_at = self._now() + SETTLED_S  # until then others have their turn
                    return None
                self._done(candidate)
                raise
            if self._key_of(candidate.path) == before:
                self._done(candidate)
                seq, self._seq = self._seq, self._seq + 1
                return Frame(self._line, seq, image, self._clock.now_ns(), readable(candidate.path))
        del self._candidates[candidate.path]
        return None

    def _done(self, candidate: _Candidate) -> None:
        del self._candidates[candidate.path]
        self._inspecting = candidate.key
        self._quiet_since = self._now()

    def _look(self, since: float, until: float) -> None:
        """What is there that was not inspected, and what of it has changed. The next call goes on where it ends."""
        if self._looking is None:
            self._looking, self._found, self._keys, self._look_took = self._unseen(), [], array("Q"), 0.0
        try:
            for number, candidate in enumerate(self._looking):
                if candidate is not None:
                    self._found.append(candidate)
                if number % 200 == 0 and self._now() > until:
                    self._keep_the_oldest()
                    self._look_took += self._now() - since
                    return
        except SourceError:
            self._looking = None
            raise
        self._looking = None
        self._keep_the_oldest()
        known = self._candidates
        self._candidates = {
            c.path: known[c.path] if c.path in known and known[c.path].key == c.key else c
            for c in self._found
            if c.key not in self._record and c.key != self._inspecting  # it was, since it was found
        }
        self._record.forget_all_but(self._keys)
        self._look_at = self._now() + max(TURN_S, REST * (self._look_took + self._now() - since))

    def _keep_the_oldest(self) -> None:
        if len(self._found) > BATCH:
            self._found = heapq.nsmallest(BATCH, self._found, key=lambda c: (c.changed_ns, c.path))

    def _unseen(self) -> Iterator[_Candidate | None]:
        """What was not inspected; nothing for each file that was."""
        for path in self._paths():
            found = self._key_of(path)
            if found is not None:
                key, changed_ns = found
                self._keys.append(key)
                if key not in self._record and key != self._inspecting:
                    now = self._now()
                    yield _Candidate(path, key, changed_ns, now, now + SETTLED_S)
                    continue
            yield None

    def _paths(self) -> Iterator[str]:
        folder, name = os.path.split(self._pattern)
        if glob.has_magic(folder) or "**" in name:
            yield from glob.iglob(self._pattern, recursive=True)  # noqa: PTH207  # absolute patterns
            return
        try:
            with os.scandir(folder or ".") as entries:
                for entry in entries:
                    if fnmatch.fnmatchcase(entry.name, name) and not entry.name.startswith("."):
                        yield entry.path
        except OSError as error:
            raise SourceError(f"folder {readable(folder)} cannot be read ({error.strerror}): is it mounted?") from error

    def _key_of(self, path: str) -> tuple[int, int] | None:
        """What tells this file from others, and when it was changed; nothing when it is gone or no file."""
        try:
            status = os.stat(path)  # noqa: PTH116  # a million of them
        except OSError:
            return None
        if status.st_mode & 0o170000 != 0o100000:
            return None
        name = os.fsencode(path)
        digest = hashlib.blake2b(b"%d %d %b" % (status.st_size, status.st_mtime_ns, name), digest_size=8).digest()
        return int.from_bytes(digest, "little"), status.st_mtime_ns
