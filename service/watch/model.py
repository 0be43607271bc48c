"""What a watcher knows: fed with (topic, payload, now), asked for rows. No terminal, no network.

Times are seconds since 1970-01-01. Everything that is kept is bounded.
"""

from collections import deque
from collections.abc import Callable

from service.watch import reading
from service.watch.reading import Json, NotOursError, clean, number_in, section_in, text_in, whole_in
from service.watch.records import Condition, Decided, Event, Line, health_text, note_of

KINDS = {"defects": "decision", "state": "state", "health": "health", "status": "status"}
MAX_LINES = 500
DECISIONS_KEPT = 200
NOTICES_KEPT = 50


class Model:
    """The lines, and what happened last.

    Args:
        started: now.
        lines: topic and name of the lines that are known from the start.
        wanted: whether a line that a device names in its status is to be shown, by topic.
    """

    def __init__(self, started: float, lines: dict[str, str], wanted: Callable[[str], bool]) -> None:
        self.started = started
        self.lines = {topic: Line(topic, name) for topic, name in lines.items()}
        self.decisions: deque[Decided] = deque(maxlen=DECISIONS_KEPT)
        self.notices: deque[Event] = deque(maxlen=NOTICES_KEPT)
        self.ignored = 0
        self.last_ignored = ""
        self._wanted = wanted
        self._offline: dict[str, float | None] = {}

    def feed(self, topic: str, payload: bytes, now: float, *, retained: bool = False) -> list[Event]:
        """Take in a message; what there is to tell about it. `retained`: the broker had kept it, so it may be old."""
        head, _, kind = topic.rpartition("/")
        if topic.endswith("/defects/image"):  # a picture: nothing that text could show
            return []
        try:
            message = reading.message_of(KINDS.get(kind) if head else None, reading.decode(payload))
            if kind == "status":
                events = self._status(head, message, now, retained)
            else:
                line = self._line(head, text_in(message, "line"))
                line.node = text_in(message, "node") or line.node
                events = getattr(self, f"_{kind}")(line, message, now, retained)
        except NotOursError as error:
            self.ignored += 1
            self.last_ignored = f"{clean(topic, 80)}: {error}"
            events = [Event("ignored", now, "", self.last_ignored)]
        return self._noted([*events, *(self._changes(now) if kind in ("state", "status") else [])])

    def tick(self, now: float) -> list[Event]:
        """What has changed by the passing of time alone: states that no longer hold."""
        return self._noted(self._changes(now))

    def say(self, text: str, now: float) -> list[Event]:
        """Note something about the connection to the broker."""
        return self._noted([Event("broker", now, "", clean(text))])

    def was_away(self) -> None:
        """The connection was lost: what is missing of each line next may have come meanwhile."""
        for line in self.lines.values():
            line.was_away = True

    def condition(self, line: Line, now: float) -> Condition:
        """How a line is, as far as can be known now."""
        age = line.age_s(now)
        if line.node in self._offline:
            was = f"the device {line.node} is not there" + (f"; last was {line.state}" if line.state else "")
            return Condition("offline", was, self._offline[line.node])
        if age is None:
            return Condition("unknown", "no state has come yet", None)
        if age > line.ttl_s:
            return Condition("STALE", f"no state within {line.ttl_s:.0f} s; last was {line.state}", line.since)
        return Condition(line.state, line.reason, line.since)

    @property
    def seen(self) -> dict[str, int]:
        """Decisions seen of all lines, by verdict, and what was missing and came twice."""
        lines = self.lines.values()
        verdicts = {verdict: sum(line.verdicts[verdict] for line in lines) for verdict in ("pass", "reject", "review")}
        sums = {name: sum(getattr(line, name) for line in lines) for name in ("decisions", "missing", "repeats")}
        return {**sums, **verdicts, "ignored": self.ignored}

    def _line(self, topic: str, name: str) -> Line:
        if topic not in self.lines:
            if len(self.lines) >= MAX_LINES:
                raise NotOursError(f"more than {MAX_LINES} lines")
            self.lines[topic] = Line(topic, name or clean(topic))
        return self.lines[topic]

    def _defects(self, line: Line, message: Json, now: float, _retained: bool) -> list[Event]:
        message_id, part = text_in(message, "id"), whole_in(message, "part")
        if message_id and message_id in line.ids:
            line.repeats += 1
            return [Event("repeat", now, line.name, f"part {part} came again and is dropped (same id)")]
        if message_id:
            line.ids.append(message_id)
        events = self._gap(line, part, now)
        verdict = text_in(message, "verdict")
        line.decisions += 1
        if verdict in line.verdicts:
            line.verdicts[verdict] += 1
        line.count_at(now)
        decided = Decided(
            line=line.name,
            at=reading.moment_in(message, "ts"),
            part=part,
            verdict=verdict,
            label=text_in(message, "label"),
            score=number_in(message, "score"),
            late=message.get("late") is True,
            note=note_of(message),
        )
        self.decisions.append(decided)
        return [*events, Event("decision", now, line.name, "", decided)]

    def _gap(self, line: Line, part: int | None, now: float) -> list[Event]:
        if part is None:
            return []
        last, line.last_part = line.last_part, part
        away, line.was_away = line.was_away, False
        if last is None or part == last + 1:
            return []
        if part <= last:
            text = f"part {part} after {last}: the numbers began anew (was the outbox deleted or exchanged?)"
            return [Event("gap", now, line.name, text)]
        count = part - last - 1
        line.missing += count
        which = f"part {last + 1} is" if count == 1 else f"parts {last + 1} to {part - 1} are"
        why = "not seen here: the broker was away" if away else "missing: not delivered, or evicted from the outbox"
        return [Event("gap", now, line.name, f"{which} {why}")]

    def _state(self, line: Line, message: Json, now: float, retained: bool) -> list[Event]:
        line.state = text_in(message, "state") or "unknown"
        line.reason = text_in(message, "reason")
        line.since = reading.moment_in(message, "since")
        ttl_s = number_in(message, "ttl_s")
        line.ttl_s = 30 if ttl_s is None else ttl_s
        line.evicted = whole_in(section_in(message, "counts"), "evicted")
        # One that comes live is fresh whatever the sender's clock says; of one that was kept only `ts` tells the age.
        sent = reading.moment_in(message, "ts")
        line.state_at = min(now, sent) if retained and sent is not None else now
        return []  # _changes tells it, and only what has changed

    def _health(self, line: Line, message: Json, now: float, _retained: bool) -> list[Event]:
        line.health = {
            **{key: number_in(message, key) for key in ("fps", "dropped", "queue", "temperature_c")},
            **{key: number_in(section_in(message, "latency_ms"), key) for key in ("p50", "p95", "p99")},
        }
        return [Event("health", now, line.name, health_text(line.health))]

    def _status(self, head: str, message: Json, now: float, retained: bool) -> list[Event]:
        if not head.startswith("edgecls/"):
            raise NotOursError("on a topic that edgecls does not use")
        # The name in the topic, not the one in the message: a broker's access rules guard topics.
        node, status = clean(head.removeprefix("edgecls/")), text_in(message, "status")
        named = message.get("lines")
        wanted = [
            self._line(topic, text_in(entry, "name"))
            for entry in (named if isinstance(named, list) else [])
            if isinstance(entry, dict) and isinstance(topic := entry.get("topic"), str) and self._wanted(topic)
        ]
        for line in wanted:
            line.node = node
        if status == "offline" and len(self._offline) < MAX_LINES:
            # When it went is told by nobody: `ts` of a last will is when the daemon started.
            self._offline.setdefault(node, None if retained else now)
        else:
            self._offline.pop(node, None)
        if not wanted and not any(line.node == node for line in self.lines.values()):
            return []
        version = text_in(message, "version")
        return [
            Event("status", now, "", f"device {node} is {status or 'unknown'}" + (f", {version}" if version else ""))
        ]

    def _changes(self, now: float) -> list[Event]:
        events = []
        for line in self.lines.values():
            condition = self.condition(line, now)
            now_so = condition.word, condition.reason
            if now_so != line.told and (line.told or condition.word != "unknown"):
                text = condition.word + (f": {condition.reason}" if condition.reason else "")
                events.append(Event("state", now, line.name, text))
                line.told = now_so
        return events

    def _noted(self, events: list[Event]) -> list[Event]:
        self.notices.extend(event for event in events if event.kind not in ("decision", "health", "ignored"))
        return events
