"""What a machine has said before its power was cut, held against what it says afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Content = tuple[str, int, str]
"""Line, part, and a digest of all that is stored of a message."""


@dataclass
class Ledger:
    stored: dict[int, Content] = field(default_factory=dict)
    """By `seq`: reported as stored, at any time."""
    acknowledged: set[tuple[str, int]] = field(default_factory=set)
    """Line and part: may be gone from the outbox."""
    removed: set[int] = field(default_factory=set)
    """Reported as gone."""
    checked: int = 0
    """Messages found again, with the same content."""
    lost: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, report: dict[str, Any]) -> None:
        """One line from the machine."""
        if "holds" in report:
            self._compare(report)
        self.acknowledged |= {(line, part) for line, part in report.get("acknowledged", [])}
        self.removed |= set(report.get("removed", []))
        for seq, content in _by_seq([*report.get("stored", []), *report.get("holds", [])]).items():
            if self.stored.setdefault(seq, content) != content:
                self.faults.append(f"seq {seq} is {content} and was {self.stored[seq]}")
        if report.get("evicted"):
            self.faults.append(f"{report['evicted']} were evicted")

    def _compare(self, report: dict[str, Any]) -> None:
        held = _by_seq(report["holds"])
        due = {seq: content for seq, content in self.stored.items() if content[:2] not in self.acknowledged}
        lost = sorted(due.keys() - held.keys())
        self.lost += len(lost)
        self.checked += sum(held.get(seq) == content for seq, content in due.items())
        last_parts = report["last_parts"]
        for wrong, what in (
            (lost, "reported as stored, and gone"),
            ([seq for seq in held.keys() & self.stored.keys() if held[seq] != self.stored[seq]], "another content"),
            (sorted(held.keys() & self.removed), "reported as removed, and back"),
            ([] if list(held) == sorted(held) else list(held), "not in order"),
            ([] if report["count"] == len(held) else [report["count"]], f"counted, {len(held)} held"),
            ([] if report["last_seq"] >= max(self.stored, default=0) else [report["last_seq"]], "last_seq is too low"),
            (self._parts_amiss(held, last_parts), "parts that are missing, or beyond the last one"),
            ([name for name in report["files"] if "corrupt" in name or "rescue" in name], "set aside as damaged"),
            ([report["problem"]] if report["problem"] else [], "the outbox has a problem"),
        ):
            if wrong:
                self.faults.append(f"{what}: {wrong[:20]}{' …' * (len(wrong) > 20)}")

    def _parts_amiss(self, held: dict[int, Content], last_parts: dict[str, int]) -> list[tuple[str, int]]:
        """Each part up to the last one of its line is there, or was acknowledged; and the last one was reported."""
        known = {content[:2] for content in held.values()} | self.acknowledged
        expected = {(line, part) for line, last in last_parts.items() for part in range(1, last + 1)}
        return sorted(known ^ expected)


def _by_seq(messages: Iterable[tuple[int, str, int, str]]) -> dict[int, Content]:
    return {seq: (line, part, digest) for seq, line, part, digest in messages}
