"""Triggers: whoever asks gets exactly one answer."""

import random
import threading
from collections import Counter

from fakes import FakeClock

from edge.decision import Ruling, Trigger
from edge.trigger import LIMIT, Triggers

PASS = Ruling("pass", None)


class Asked:
    """Triggers on a clock that the test holds, and the answers to them."""

    def __init__(self, timeout_s: float = 1.0) -> None:
        self.clock = FakeClock()
        self.answers: list[tuple[str | None, str, str]] = []
        self.triggers = Triggers(timeout_s, self.clock, self._answer)

    def _answer(self, trigger: Trigger, ruling: Ruling) -> None:
        self.answers.append((trigger.id, ruling.verdict, ruling.reason))

    def add(self, *ids: str) -> None:
        for trigger_id in ids:
            self.triggers.add(Trigger(self.clock.now_ns(), trigger_id))

    @property
    def answered(self) -> list[str | None]:
        return [trigger_id for trigger_id, _, _ in self.answers]


def test_a_frame_answers_all_that_wait_each_once_in_their_order() -> None:
    asked = Asked()
    asked.add("a", "b", "c")
    for _ in range(2):
        asked.triggers.answer(PASS, asked.clock.now_ns())
    assert asked.answers == [("a", "pass", ""), ("b", "pass", ""), ("c", "pass", "")]


def test_a_frame_that_was_captured_before_is_no_answer() -> None:
    asked = Asked()
    captured_at_ns = asked.clock.now_ns()
    asked.add("a")
    asked.clock.sleep(0.1)
    asked.add("b")
    assert not asked.triggers.due(captured_at_ns - 1)
    asked.triggers.answer(PASS, captured_at_ns)
    assert asked.answered == ["a"]
    assert not asked.triggers.due(captured_at_ns)
    assert asked.triggers.due(asked.clock.now_ns())


def test_with_a_limit_the_oldest_are_answered_first() -> None:
    asked = Asked()
    asked.add("a", "b", "c")
    asked.triggers.answer(PASS, asked.clock.now_ns(), 1)
    assert asked.answered == ["a"]
    asked.triggers.answer(PASS, asked.clock.now_ns(), 1)
    assert asked.answered == ["a", "b"]


def test_whose_time_is_up_is_told_so_and_gets_no_frame_later() -> None:
    asked = Asked(timeout_s=1)
    asked.add("a")
    asked.clock.sleep(0.6)
    asked.add("b")
    asked.triggers.expire("")
    assert asked.answers == []
    asked.clock.sleep(0.4)
    asked.triggers.expire("the camera is silent")
    assert asked.answers == [("a", "review", "timeout: no frame within 1 s (the camera is silent)")]
    asked.triggers.answer(PASS, asked.clock.now_ns())
    assert asked.answered == ["a", "b"]
    asked.clock.sleep(10)
    asked.triggers.expire("")
    assert asked.answered == ["a", "b"]


def test_the_end_answers_all_and_whoever_comes_later_at_once() -> None:
    asked = Asked()
    asked.add("a")
    asked.triggers.close("the source has ended")
    asked.add("b")
    reason = "timeout: not looked at, the source has ended"
    assert asked.answers == [("a", "review", reason), ("b", "review", reason)]


def test_far_too_many_are_answered_at_once() -> None:
    asked = Asked()
    asked.add(*map(str, range(LIMIT)), "one more")
    assert asked.answers == [("one more", "review", f"timeout: not looked at, {LIMIT} triggers wait already")]


def test_waiting_ends_when_one_comes() -> None:
    asked = Asked()
    assert not asked.triggers.wait(0)
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(asked.triggers.wait(60)))
    waiting.start()
    asked.add("a")
    waiting.join(30)
    assert woken == [True]


def test_each_is_answered_once_when_frames_race_time_outs_and_the_end() -> None:
    asked = Asked(timeout_s=0)
    over = threading.Event()

    def ask(first: int) -> None:
        for number in range(first, first + 300):
            asked.add(str(number))

    def race(seed: int) -> None:
        dice = random.Random(seed)
        while not over.is_set():
            if dice.random() < 0.5:
                asked.triggers.answer(PASS, asked.clock.now_ns(), dice.choice((1, None)))
            else:
                asked.triggers.expire("")

    racing = [threading.Thread(target=race, args=(seed,)) for seed in range(4)]
    asking = [threading.Thread(target=ask, args=(first,)) for first in range(0, 1200, 300)]
    for thread in (*racing, *asking):
        thread.start()
    for thread in asking:
        thread.join()
    asked.triggers.close("the end")
    over.set()
    for thread in racing:
        thread.join()
    assert Counter(asked.answered) == dict.fromkeys(map(str, range(1200)), 1)
