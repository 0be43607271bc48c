"""Mistakes in `trust` of a line, and what is said about each, as in mistakes.py."""

from mistakes import BASE

OF_TRUST = "while_blind, reference, frozen_s, black, overexposed, focus, moved, covered"

TRUST: list[tuple[str, list[str]]] = [
    (
        BASE + "    trust: {blak: 1}\n",
        [f"6: lines[0].trust.blak: unknown key (did you mean black?); allowed are {OF_TRUST}"],
    ),
    (
        BASE + "    trust: {while_blind: pass}\n",
        ["6: lines[0].trust.while_blind: must be one of review, withhold, not 'pass'"],
    ),
    *(
        (
            BASE + f"    trust: {{{key}: {value}}}\n",
            [f"6: lines[0].trust.{key}: must be a number from {low} to {high}, or off, not {shown}"],
        )
        for key, value, low, high, shown in (
            ("frozen_s", "0.1", "0.2", "3600", "0.1"),
            ("black", "256", "0", "255", "256"),
            ("overexposed", "often", "0", "1", "'often'"),
            ("focus", "1.5", "0", "1", "1.5"),
            ("moved", "true", "0", "1", "true"),
            ("covered", "-1", "0", "1", "-1"),
        )
    ),
]
