"""Mistakes in `evidence`, and what is said about each, as in mistakes.py."""

from mistakes import BASE

OF_EVIDENCE = "path, max_mib, max_writes_per_hour, quality, publish"

EVIDENCE: list[tuple[str, list[str]]] = [
    (
        BASE + "evidence: {max_mib: 3}\n",
        ["6: evidence.max_mib: must be at least 4, or 0, which keeps no pictures, not 3"],
    ),
    (BASE + "evidence: {max_mib: -1}\n", ["6: evidence.max_mib: must be at least 0, not -1"]),
    (
        BASE + "evidence: {max_writes_per_hour: 0}\n",
        ["6: evidence.max_writes_per_hour: must be at least 1, not 0"],
    ),
    (BASE + "evidence: {quality: 101}\n", ["6: evidence.quality: must be at most 100, not 101"]),
    (BASE + "evidence: {publish: 'yes'}\n", ["6: evidence.publish: must be true or false, not 'yes'"]),
    (
        BASE + "evidence: {max_gib: 1}\n",
        [f"6: evidence.max_gib: unknown key (did you mean max_mib?); allowed are {OF_EVIDENCE}"],
    ),
]
