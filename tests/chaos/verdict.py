"""What must hold after a storm, and the figures.

"Sent" is what the proxy read from the daemon, "stored" what was in the outbox each time the daemon had been killed,
"received" what the subscriber got straight from the broker. A decision is *excused* when the proxy passed on its
acknowledgement by a broker that was killed afterwards: the daemon has done its part, and what a broker does after its
acknowledgement is its own business. A broker that is stopped cleanly keeps what it owes to the subscriber, and excuses
nothing.

1. Lost: every decision that was ever stored, sent or received is received, or excused.
2. Duplicates: in all that was stored, sent and received, a line's number `part` belongs to one `id`, and an `id` to one
   decision. Repeats of an `id` are the same message but for `late`.
3. No gap: at the proxy the first sending of each `id` counts 1, 2, 3 … on each line, over the whole run. That holds
   exactly, whatever dies when: numbers are stored before they are sent, and what is oldest is sent first. A decision
   that was not stored when the daemon died was never seen by anyone, and its number is given to the next one.
4. Order on the wire: on each connection the numbers of a line only rise. (Over a new connection what is not
   acknowledged, or whose removal from the outbox was not yet on disk, is sent again: numbers start lower there.)
5. Order of arrival: at the subscriber the first arrivals of a line only rise, with one exception. A broker delivers in
   the order of sending, so a killed one cuts off the tail: each connection brings a run of numbers from the oldest one
   that is not acknowledged, and every run begins at or before the end of what arrived. Only when a broker dies with
   what it had acknowledged does a run begin later; and if the daemon, killed too, had not yet removed those
   decisions, they come after all, late and behind their successors. Only decisions which a broker that was dead by
   then had acknowledged may come like this.
6. Stored before sent: whatever had been sent but not acknowledged when the daemon was killed was in its outbox.
7. Drained: with a broker that is there, a daemon that is told to end leaves nothing in its outbox.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import Any

from chaos.record import Record, Sent
from chaos.storm import Death, Life

Message = dict[str, Any]
Name = tuple[str, int]
"""Of a decision for people: its line and its number."""


@dataclass
class Verdict:
    """The figures; `faults` has a sentence for everything that must not be."""

    record: Record
    arrivals: list[tuple[float, Message]]
    """With repeats, in order; when (CLOCK_MONOTONIC, seconds) and what."""
    deaths: list[Death]
    lives: list[Life]
    left: list[Message]
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.received = [message for _, message in self.arrivals]
        self.names: dict[str, set[Name]] = defaultdict(set)
        for message in [*self.received, *self.left, *(m for death in self.deaths for m in death.stored)]:
            self.names[message["id"]].add((message["line"], message["part"]))
        for sent in self.record.sent:
            self.names[sent.id].add((sent.line, sent.part))
        self.decisions = len(self.names)
        arrived = {message["id"] for message in self.received}
        self.repeats = len(self.received) - len(arrived)
        self.sent_again = len(self.record.sent) - len({sent.id for sent in self.record.sent})
        deaths = {i: min(map(self._broker_killed_at, on)) for i, on in self.record.acknowledged.items()}
        self._excused_from = {message_id: at for message_id, at in deaths.items() if at < inf}
        missing = self.names.keys() - arrived
        self.excused = len(missing & self._excused_from.keys())
        self.lost = missing - self._excused_from.keys()
        self._fault("lost", self.lost)
        self._fault("left in the outbox though the broker was there", {message["id"] for message in self.left})
        self._check_duplicates()
        self._check_gaps()
        self._check_order_on_the_wire()
        self._check_order_of_arrival()
        self._check_stored_before_sent()

    def _broker_killed_at(self, connection: int) -> float:
        """When the broker of a connection was killed; never, if it ended otherwise."""
        opened = self.record.opened[connection]
        return min(
            (life.ended for life in self.lives if life.killed and life.began <= opened <= life.ended), default=inf
        )

    def _fault(self, what: str, ids: "set[str] | list[str]") -> None:
        if ids:
            names = sorted(name for i in ids for name in self.names[i])
            self.faults.append(f"{what}: {len(ids)}, such as {names[:10]}")

    def _check_duplicates(self) -> None:
        owners: dict[Name, set[str]] = defaultdict(set)
        for message_id, names in self.names.items():
            for name in names:
                owners[name].add(message_id)
        self._fault("one id for several decisions", {i for i, names in self.names.items() if len(names) > 1})
        self._fault("several ids for one number", {i for ids in owners.values() if len(ids) > 1 for i in ids})
        contents: dict[str, Message] = {}
        for message in self.received:
            content = {**message, "late": None}
            if contents.setdefault(message["id"], content) != content:
                self._fault("repeated with another content", {message["id"]})

    def _check_gaps(self) -> None:
        last: dict[str, int] = defaultdict(int)
        seen: set[str] = set()
        wrong = []
        for sent in self.record.sent:
            if sent.id not in seen:
                seen.add(sent.id)
                if sent.part != last[sent.line] + 1:
                    wrong.append(sent.id)
                last[sent.line] = sent.part
        self._fault("not the next number of its line when it was sent first", wrong)

    def _check_order_on_the_wire(self) -> None:
        last: dict[tuple[int, str], int] = defaultdict(int)
        wrong = []
        for sent in self.record.sent:
            key = sent.connection, sent.line
            if sent.part <= last[key]:
                wrong.append(sent.id)
            last[key] = sent.part
        self._fault("out of order on its connection", wrong)

    def _check_order_of_arrival(self) -> None:
        last: dict[str, int] = defaultdict(int)
        wrong = []
        self.behind = 0
        seen: set[str] = set()
        for at, message in self.arrivals:
            if message["id"] in seen:
                continue
            seen.add(message["id"])
            if message["part"] > last[message["line"]]:
                last[message["line"]] = message["part"]
            elif self._excused_from.get(message["id"], inf) < at:
                self.behind += 1
            else:
                wrong.append(message["id"])
        self._fault("arrived behind its successor", wrong)

    def _check_stored_before_sent(self) -> None:
        acknowledged = self.record.acknowledged.keys()
        wrong: list[Sent] = []
        died_before = 0.0
        for death in self.deaths:
            stored = {message["id"] for message in death.stored}
            life = [s for s in self.record.sent if died_before < self.record.opened[s.connection] < death.at]
            wrong += [s for s in life if s.id not in stored | acknowledged]
            died_before = death.at
        self._fault("sent but not stored", {sent.id for sent in wrong})

    def figures(self) -> dict[str, int]:
        """To be printed."""
        return {
            "decisions": self.decisions,
            "sent again": self.sent_again,
            "sent late": len({sent.id for sent in self.record.sent if sent.late}),
            "received again": self.repeats,
            "excused: a killed broker had acknowledged them": self.excused,
            "excused: arrived behind their successors": self.behind,
            "most in flight": self.record.most_in_flight,
            "lost": len(self.lost),
        }
