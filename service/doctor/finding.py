"""What the doctor says: one sentence about one subject, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
SECTIONS = ("device", "engines", "cameras", "configuration", "broker", "service")
"""In the order in which they are told."""

Facts = Mapping[str, object]
"""The figures behind a sentence, for programs: what JSON can hold."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Made by the functions below, so that whatever is not ok has a remedy.

    Attributes:
        level: `ok`; `note`: works, and could be better or was not looked at; `warning`: will hurt some day, or hurts
            now without stopping anything; `error`: something does not work.
        subject: what it is about, such as `clock` or the name of a line.
        text: one sentence without a full stop.
        remedy: a command or a setting to type; empty when it is ok.
        facts: the figures behind it.
    """

    level: Level
    subject: str
    text: str
    remedy: str
    facts: Facts


def ok(subject: str, text: str, **facts: object) -> Finding:
    """As it should be."""
    return Finding("ok", subject, text, "", facts)


def note(subject: str, text: str, remedy: str, **facts: object) -> Finding:
    """It works, and could be better; or it was not looked at."""
    return Finding("note", subject, text, remedy, facts)


def warning(subject: str, text: str, remedy: str, **facts: object) -> Finding:
    """It will hurt some day, or hurts now without stopping anything."""
    return Finding("warning", subject, text, remedy, facts)


def error(subject: str, text: str, remedy: str, **facts: object) -> Finding:
    """Something does not work."""
    return Finding("error", subject, text, remedy, facts)


def sentence(text: str) -> tuple[str, str]:
    """What is wrong and what to do about it: our errors are one sentence, the remedy after its last colon."""
    wrong, colon, remedy = text.rpartition(": ")
    return (wrong, remedy) if colon else (text, "see the log: journalctl -u edgecls")
