"""Where the daemon writes: is there room, for bytes and for files, and does it stay when power fails?"""

import os
from collections.abc import Iterator
from pathlib import Path

from service.doctor.case import Case
from service.doctor.finding import Finding, error, ok, warning
from service.doctor.system import System

_OVERHEAD_MIB = 16
"""Beside the stored decisions: the write-ahead log, and the file while it is rescued."""
_LITTLE_MIB = 16
_FEW_FILES = 200
_IN_MEMORY = ("tmpfs", "ramfs")


def disks(case: Case) -> Iterator[Finding]:
    """The file system of the outbox, and of what else is kept."""
    outbox = Path(case.outbox.path)
    stored_mib = _size_mib(outbox)
    needed_mib = max(0, case.outbox.max_mib - stored_mib) + _OVERHEAD_MIB
    pictures = case.evidence_path
    pictures_mib = max(0, case.evidence.max_mib - _folder_mib(pictures))
    beside = _existing(pictures).stat().st_dev == _existing(outbox.parent).stat().st_dev
    yield from disk(case.system, outbox.parent, needed_mib + (pictures_mib if beside else 0))
    if not beside and case.evidence.max_mib:
        yield from _disk_of_pictures(pictures, pictures_mib)
    kept = Path(case.engine.tuning).parent
    if _existing(kept).stat().st_dev != _existing(outbox.parent).stat().st_dev:
        yield from disk(case.system, kept, _LITTLE_MIB)


def _disk_of_pictures(folder: Path, needed_mib: int) -> Iterator[Finding]:
    """Its end is no disaster: the oldest pictures give way to the newest."""
    seen = os.statvfs(_existing(folder))
    free_mib = seen.f_bavail * seen.f_frsize >> 20
    subject, facts = f"disk of {folder}", {"free_mib": free_mib, "needed_mib": needed_mib}
    if seen.f_flag & os.ST_RDONLY:
        remedy = "mount it writable: sudo mount -o remount,rw MOUNT (findmnt -T names it), or set another evidence.path"
        yield warning(subject, "it is read-only: no pictures of rejects are kept", remedy, **facts)
    elif free_mib < needed_mib:
        text = f"{free_mib} MiB are free, and the pictures of rejects may take {needed_mib} more"
        yield warning(subject, text, f"free some space, or set evidence.max_mib to {max(4, free_mib // 2)}", **facts)
    else:
        yield ok(subject, f"{free_mib} MiB are free, {needed_mib} needed at most for pictures of rejects", **facts)


def disk(system: System, folder: Path, needed_mib: int) -> Iterator[Finding]:
    """The file system that a folder is on, or will be.

    Args:
        system: knows what is mounted.
        folder: need not be there.
        needed_mib: how much may be written to it.
    """
    place = _existing(folder)
    subject = f"disk of {folder}"
    seen = os.statvfs(place)
    free_mib, free_files = seen.f_bavail * seen.f_frsize >> 20, seen.f_favail
    facts = {"free_mib": free_mib, "free_files": free_files, "needed_mib": needed_mib, "kind": _kind(system, place)}
    room = f"{free_mib} MiB are free"
    if seen.f_flag & os.ST_RDONLY:
        remedy = "mount it writable: sudo mount -o remount,rw MOUNT (findmnt -T names it), or set outbox.path elsewhere"
        yield error(subject, "it is read-only: decisions would wait in memory alone", remedy, **facts)
    elif free_mib < _LITTLE_MIB:
        yield error(subject, f"it is full: {room}", f"free some space: sudo du -xh {place} | sort -h | tail", **facts)
    elif free_mib < needed_mib:
        text = f"{room}, and what is kept there may grow by {needed_mib} MiB"
        third = max(4, free_mib // 3)
        remedy = f"free some space, or set outbox.max_mib and evidence.max_mib to {third} each"
        yield warning(subject, text, remedy, **facts)
    elif seen.f_files and free_files < _FEW_FILES:  # some file systems count no files
        text = f"{room}, but only {free_files} files more"
        yield warning(subject, text, f"remove small files: sudo du --inodes -x {place} | sort -n | tail", **facts)
    elif facts["kind"] in _IN_MEMORY:
        text = f"it lies in memory ({facts['kind']}): decisions stored there are lost when power fails"
        yield warning(subject, text, "set outbox.path to a folder on a disk", **facts)
    else:
        yield ok(subject, f"{room}, {needed_mib} needed at most", **facts)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _size_mib(file: Path) -> int:
    try:
        return file.stat().st_size >> 20
    except OSError:
        return 0


def _folder_mib(folder: Path) -> int:
    return sum(_size_of(file) for file in folder.glob("*/*")) >> 20


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # it has just been removed
        return 0


def _kind(system: System, place: Path) -> str:
    """The kind of file system, by its device number in mountinfo (proc(5)); empty when it is not there."""
    number = place.stat().st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for line in (system.text("/proc/self/mountinfo") or "").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            return source.split()[0]
    return ""
