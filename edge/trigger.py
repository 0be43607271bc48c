"""`per: trigger`: whoever asks gets exactly one answer, and not later than asked for.

    received --> pending --> claimed by the inspecting thread: a frame captured since --> answered with its decision
                         or> claimed by the main thread: its time is up               --> answered with `timeout`

A trigger is answered by whoever claims it, and it can be claimed once.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock
from edge.decision import Ruling, Trigger

LIMIT = 1000
"""Triggers that wait at a time; more than any line can mean."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    trigger: Trigger
    deadline_ns: int


class Triggers:
    """The triggers of one line that have not been answered. Used by any thread.

    Args:
        timeout_s: so long after it was received a trigger is answered without a frame.
        clock: the time.
        answer: takes a trigger and the ruling on it; called by whichever thread has claimed the trigger.
    """

    def __init__(self, timeout_s: float, clock: Clock, answer: Callable[[Trigger, Ruling], None]) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._answer = answer
        self._changed = threading.Condition()
        self._pending: list[_Pending] = []
        self._closed = ""

    def add(self, trigger: Trigger) -> None:
        """Take a trigger. When far too many wait it is answered at once."""
        deadline_ns = self._clock.monotonic_ns() + int(self._timeout_s * 1e9)
        with self._changed:
            refused = self._closed or (f"{LIMIT} triggers wait already" if len(self._pending) >= LIMIT else "")
            if not refused:
                self._pending.append(_Pending(trigger, deadline_ns))
                self._changed.notify_all()
        if refused:
            self._answer(trigger, Ruling("review", None, f"timeout: not looked at, {refused}"))

    def wait(self, timeout_s: float) -> bool:
        """Whether there is one, now or within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._pending), timeout_s)

    def due(self, captured_at_ns: int) -> bool:
        """Whether a frame captured then (UTC, nanoseconds) would answer one."""
        with self._changed:
            return any(p.trigger.received_at_ns <= captured_at_ns for p in self._pending)

    def answer(self, ruling: Ruling, captured_at_ns: int, limit: int | None = None) -> None:
        """Answer those that were received before the frame was captured, at most `limit`, the oldest first."""
        for trigger in self._claim(lambda p: p.trigger.received_at_ns <= captured_at_ns, limit):
            self._answer(trigger, ruling)

    def expire(self, why: str) -> None:
        """Answer those whose time is up. To be called every now and then."""
        now_ns = self._clock.monotonic_ns()
        for trigger in self._claim(lambda p: p.deadline_ns <= now_ns, None):
            reason = f"timeout: no frame within {self._timeout_s:g} s" + (f" ({why})" if why else "")
            self._answer(trigger, Ruling("review", None, reason))

    def close(self, why: str) -> None:
        """Answer all that wait, and from now on every new one at once."""
        with self._changed:
            self._closed = why
        for trigger in self._claim(lambda _: True, None):
            self._answer(trigger, Ruling("review", None, f"timeout: not looked at, {why}"))

    def _claim(self, which: Callable[[_Pending], bool], limit: int | None) -> list[Trigger]:
        with self._changed:
            claimed = [pending for pending in self._pending if which(pending)][:limit]
            self._pending = [pending for pending in self._pending if pending not in claimed]
        return [pending.trigger for pending in claimed]
