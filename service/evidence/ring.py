"""The folder of the pictures: PATH/LINE/ID.jpg and ID.json beside it, bounded in bytes, the newest are kept.

Both are written under another name and then renamed, the picture first: what has its JSON is whole. The oldest leave in
the opposite order, and before something new is written, so that the folder is never larger than it may be. There is no
fsync: the kernel gathers the writes of some seconds into one. What a lost power supply leaves half-written is found by
its size and removed at the next start.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service.evidence.item import ID, EvidenceError, Item, read_item

BLOCK = 4096
"""File systems give room in such pieces."""
RECENT = 64
"""The newest pictures, which the kernel may not have had the time to write when power failed: looked at one by one."""

_GONE = "this picture is not kept any more: newer ones have taken its place"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a picture lies and what it takes up, both files together, bytes."""

    line: str
    size: int


def room_of(*sizes: int) -> int:
    """What files of these sizes take up on disk, bytes."""
    return sum(-(-size // BLOCK) * BLOCK for size in sizes)


class Ring:
    """The folder and what is known of it. `add` belongs to one thread, the rest to any.

    Args:
        path: of the folder; made by `open`.
        max_bytes: what the files in it may take up.
        reserve_bytes: what is left of the disk to others.
    """

    def __init__(self, path: Path, max_bytes: int, reserve_bytes: int = 0) -> None:
        self.path = path
        self._max = max_bytes
        self._reserve = reserve_bytes
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        """By id, the oldest first."""
        self._taken = 0
        """Bytes of the entries, and of what is being written."""
        self._folder: int | None = None

    def open(self) -> int:
        """Make the folder, or take over what is in it; how many half-written pictures were removed.

        Raises:
            OSError: it cannot be made, read or written to.
            EvidenceError: another edgecls has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._folder = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            text = f"another edgecls keeps its pictures in {self.path}: give each a folder of its own, evidence.path"
            raise EvidenceError(text) from error
        with self._lock:
            removed = self._take_over()
            self._evict(0, self._max)
        return removed

    def close(self) -> None:
        """Let another one have the folder."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    @property
    def is_open(self) -> bool:
        """Whether it has been opened."""
        return self._folder is not None

    @property
    def count(self) -> int:
        """Pictures."""
        return len(self._entries)

    @property
    def taken_bytes(self) -> int:
        """What they take up on disk."""
        return self._taken

    @property
    def newest(self) -> Item | None:
        """The last one that was kept."""
        return next(self.items(), None)

    def takes(self, item: Item, json_bytes: int) -> bool:
        """Whether a picture is small enough to be kept at all."""
        return room_of(item.size_bytes, json_bytes) <= self._max

    def add(self, items: Sequence[tuple[Item, bytes]]) -> None:
        """Keep pictures, in the order of their ids, all pictures before the first JSON.

        Args:
            items: with the JPEG of each; together no larger than the ring.

        Raises:
            OSError: the disk takes nothing; nothing of them is kept, and what was kept before may be less.
        """
        texts = [item.json() for item, _ in items]
        sizes = [room_of(len(jpeg), len(text)) for (_, jpeg), text in zip(items, texts, strict=True)]
        with self._lock:
            self._evict(sum(sizes), self._most())
            self._taken += sum(sizes)
        kept = 0
        try:
            for item, jpeg in items:
                self._write(self._file(item.line, item.id, "jpg"), jpeg)
            for (item, _), text, size in zip(items, texts, sizes, strict=True):
                self._write(self._file(item.line, item.id, "json"), text)
                with self._lock:
                    self._entries[item.id] = Entry(item.line, size)
                kept += 1
        except OSError:
            for item, _ in items[kept:]:
                self._remove(item.line, item.id)
            with self._lock:
                self._taken -= sum(sizes[kept:])
            raise

    def check(self, size_bytes: int) -> None:
        """Whether the disk would take so much; nothing that is kept has to leave for that.

        Raises:
            OSError: it would not.
        """
        with self._lock:
            if room_of(size_bytes) > self._most():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(self.path / ".writable", b"\n", sync=True)
        (self.path / ".writable").unlink()

    def items(self, line: str | None = None, before: str | None = None) -> Iterator[Item]:
        """The newest first; those that leave meanwhile are passed over.

        Args:
            line: of this one alone.
            before: older than the one with this id.
        """
        with self._lock:
            ids = [i for i, e in self._entries.items() if line in (None, e.line) and (before is None or i < before)]
        for item_id in reversed(ids):
            if (item := self.get(item_id)) is not None:
                yield item

    def get(self, item_id: str) -> Item | None:
        """The one with that id, None when it is not there (any more)."""
        entry = self._entries.get(item_id)
        if entry is None:
            return None
        with suppress(OSError, ValueError):
            return read_item(self._file(entry.line, item_id, "json"))
        return None

    def picture(self, item_id: str) -> bytes | None:
        """Its JPEG."""
        entry = self._entries.get(item_id)
        if entry is None:
            return None
        with suppress(OSError):
            return self._file(entry.line, item_id, "jpg").read_bytes()
        return None

    def relabel(self, item_id: str, label: str | None) -> Item:
        """Note what a person says that it shows; on disk when this returns.

        Raises:
            EvidenceError: it is not there, the model knows no such label, or the disk takes nothing.
        """
        with self._lock:
            entry = self._entries.get(item_id)
            item = self.get(item_id)
            if entry is None or item is None:
                raise EvidenceError(_GONE)
            item = item.labelled(label)
            text = item.json()
            size = room_of(item.size_bytes, len(text))
            try:
                self._evict(room_of(len(text)), self._max)  # for a moment both lie there
                if item_id not in self._entries:
                    raise EvidenceError(_GONE)
                self._write(self._file(entry.line, item_id, "json"), text, sync=True)
            except OSError as error:
                raise EvidenceError(f"the label could not be kept in {self.path} ({error.strerror})") from error
            self._entries[item_id] = Entry(entry.line, size)
            self._taken += size - entry.size
        return item

    def _most(self) -> int:
        """What may be taken up now: not the last of the disk. On a full one what is old gives way to what is new."""
        seen = os.statvfs(self.path)
        return min(self._max, self._taken + max(0, seen.f_bavail * seen.f_frsize - self._reserve))

    def _evict(self, needed: int, most: int) -> None:
        """The oldest leave until there is room. With the lock held.

        Raises:
            OSError: there would not be enough if all of them left.
        """
        if needed > most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        while self._entries and self._taken + needed > most:
            item_id, entry = next(iter(self._entries.items()))
            for kind in ("json", "jpg"):  # a picture without its JSON does not count
                self._file(entry.line, item_id, kind).unlink(missing_ok=True)
            del self._entries[item_id]
            self._taken -= entry.size

    def _take_over(self) -> int:
        sizes: dict[str, dict[str, int]] = {}
        lines: dict[str, str] = {}
        removed = 0
        for file in self._files():
            item_id, _, kind = file.name.partition(".")
            if kind.endswith("tmp") or not (size := file.stat().st_size):
                removed += kind in ("jpg", "jpg.tmp")
                file.unlink()
            else:
                sizes.setdefault(item_id, {})[kind] = size
                lines[item_id] = file.parent.name
        self._entries = {}
        for position, item_id in enumerate(sorted(sizes, reverse=True)):
            both, line = sizes[item_id], lines[item_id]
            if both.keys() == {"jpg", "json"} and (position >= RECENT or self._is_whole(line, item_id, both["jpg"])):
                self._entries[item_id] = Entry(line, room_of(*both.values()))
            else:
                removed += 1
                self._remove(line, item_id)
        self._entries = dict(reversed(self._entries.items()))
        self._taken = sum(entry.size for entry in self._entries.values())
        return removed

    def _files(self) -> Iterator[Path]:
        """Those that are ours; others are left alone."""
        for folder in [entry for entry in os.scandir(self.path) if entry.is_dir(follow_symlinks=False)]:
            for file in list(os.scandir(folder.path)):
                item_id, _, kind = file.name.partition(".")
                if ID.fullmatch(item_id) and kind in ("jpg", "json", "jpg.tmp", "json.tmp"):
                    yield Path(file.path)

    def _is_whole(self, line: str, item_id: str, size: int) -> bool:
        try:
            return read_item(self._file(line, item_id, "json")).size_bytes == size
        except (OSError, ValueError):
            return False

    def _file(self, line: str, item_id: str, kind: str) -> Path:
        return self.path / line / f"{item_id}.{kind}"

    def _write(self, file: Path, content: bytes, *, sync: bool = False) -> None:
        half = file.with_name(f"{file.name}.tmp")
        file.parent.mkdir(exist_ok=True)
        with half.open("wb") as out:
            out.write(content)
            if sync:
                out.flush()
                os.fsync(out.fileno())
        half.rename(file)

    def _remove(self, line: str, item_id: str) -> None:
        """Whatever there is of it."""
        for kind in ("json", "json.tmp", "jpg", "jpg.tmp"):
            self._file(line, item_id, kind).unlink(missing_ok=True)
