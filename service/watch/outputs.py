"""What a watcher says where there is no screen: one line of text per event, or one JSON document per message."""

import json
import time
from typing import Protocol, TextIO

from service.watch import reading
from service.watch.client import Heard
from service.watch.model import Model
from service.watch.records import Event


class Output(Protocol):
    """Where what was heard goes."""

    def heard(self, heard: Heard) -> None:
        """A message, before the model has taken it in."""

    def happened(self, events: list[Event], *, connected: bool) -> None:
        """What came of it, or of time; `connected`: the broker is there."""

    def refresh(self, model: Model, now: float) -> None:
        """Called at least every quarter of a second."""

    def close(self) -> None:
        """Nothing more comes; what was changed of the terminal is put back."""


class PlainOutput:
    """One line of text per event."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def heard(self, heard: Heard) -> None: ...

    def happened(self, events: list[Event], *, connected: bool) -> None:
        del connected
        for event in events:
            self._out.write(f"{plain(event)}\n")
        self._out.flush()

    def refresh(self, model: Model, now: float) -> None: ...

    def close(self) -> None: ...


class JsonOutput:
    """One JSON document per message: `topic`, `retained`, and `message`, or `ignored` with the reason.

    Everything outside ASCII is escaped, so that nothing in a payload can reach a terminal as a command.
    """

    def __init__(self, out: TextIO, notes: TextIO) -> None:
        self._out = out
        self._notes = notes

    def heard(self, heard: Heard) -> None:
        document = {"topic": heard.topic, "retained": heard.retained}
        try:
            text = json.dumps({**document, "message": reading.decode(heard.payload)})
        except (reading.NotOursError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            text = json.dumps({**document, "ignored": reason})
        self._out.write(f"{text}\n")
        self._out.flush()

    def happened(self, events: list[Event], *, connected: bool) -> None:
        del connected
        for event in events:
            if event.kind == "broker":
                self._notes.write(f"edgecls watch: {event.text}\n")
        self._notes.flush()

    def refresh(self, model: Model, now: float) -> None: ...

    def close(self) -> None: ...


def plain(event: Event) -> str:
    """An event on one line, with the local time."""
    where = f"{event.line}: " if event.line else ""
    return f"{clock(event.at, date=True)} {event.kind:8} {where}{said(event)}"


def said(event: Event) -> str:
    """What happened, without when and where."""
    if event.decided is None:
        return event.text
    decided = event.decided
    words = [decided.verdict.upper() or "no verdict", decided.label or "no label"]
    words += ["" if decided.score is None else f"{decided.score:.2f}", f"part {decided.part}" if decided.part else ""]
    late = f"late (decided {clock(decided.at, date=True)})" if decided.late else ""
    return ", ".join(part for part in (" ".join(word for word in words if word), late, decided.note) if part)


def clock(at: float | None, *, date: bool = False) -> str:
    """A time as the clock on the wall shows it; with the date when asked for."""
    if at is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "-"


def summary(model: Model, now: float) -> str:
    """What was seen from the start to now."""
    seen, minutes = model.seen, divmod(int(now - model.started), 60)
    took = f"{minutes[0]} min {minutes[1]} s" if minutes[0] else f"{minutes[1]} s"
    verdicts = ", ".join(f"{seen[verdict]} {verdict}" for verdict in ("pass", "reject", "review"))
    faults = ", ".join(f"{seen[name]} {name}" for name in ("missing", "repeats", "ignored"))
    return f"{seen['decisions']} decisions in {took} ({verdicts}), {faults}"
