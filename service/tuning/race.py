"""The race: all plans briefly, the better half again, the finalists until the order is clear or the time is up.

Processes of the same plan differ by more than the inferences of one, so that each plan is measured in several short
ones, round by round, and a slow minute of the device hits all alike.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.backends import Plan
from edge.backends.plan import Hint
from edge.tuning import TIE, Measured, Sample
from service.tuning.measure import Failure

GOALS: tuple[Hint, ...] = ("latency", "throughput")
BRIEF_S, LONGER_S = 0.3, 0.5
"""How long one process measures, in the first round and later."""
HALVINGS = 2
ENOUGH = 9
"""Processes of one plan: more of them move no median any more."""
DISTURBED = 0.15
"""Cores taken by others while a process measured: with more it is measured again, for two threads that share one core
are two to three times as slow."""
AGAIN = 2
"""How often it is measured again, at most."""

Measure = Callable[[Plan, float], Sample | Failure]
Tell = Callable[[str], None]


@dataclass
class Race:
    """What is known so far.

    Attributes:
        samples: of every plan that has not failed.
        failed: the plans that are out, and why.
        left: those that are measured again, for each goal.
        clear: whether it ended because the order was clear.
    """

    samples: dict[Plan, list[Sample]]
    failed: list[Failure] = field(default_factory=list)
    left: dict[Hint, list[Plan]] = field(default_factory=dict)
    rounds: int = 0
    clear: bool = False

    def measured(self) -> list[Measured]:
        """The medians, in the order of the plans."""
        return [summary(plan, samples) for plan, samples in self.samples.items() if samples]


def summary(plan: Plan, samples: Sequence[Sample]) -> Measured:
    """The medians of some samples."""
    medians = {
        key: float(np.median([getattr(sample, key) for sample in undisturbed(samples)]))
        for key in ("p50_ms", "fps", "cpu_ms", "peak_mib")
    }
    return Measured(plan, **medians, samples=tuple(samples))


def undisturbed(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Those that had the cores for themselves; when there are none, all."""
    return [sample for sample in samples if sample.others <= DISTURBED] or samples


def race(
    plans: Sequence[Plan],
    measure: Measure,
    *,
    seconds: float,
    clock: Callable[[], float],
    tell: Tell,
    yardsticks: Sequence[Plan] = (),
    grid: bool = False,
) -> Race:
    """Measure plans against each other.

    Args:
        plans: the candidates.
        measure: measures one for so many seconds.
        seconds: no process is started after that, but every plan gets one.
        clock: seconds, from anywhere.
        tell: is called with what happens next.
        yardsticks: the plans that stay in the race as long as there are halvings, for comparison.
        grid: nobody is dropped: all are measured until the time is up.
    """
    state = Race({plan: [] for plan in plans})
    state.left = {goal: [plan for plan in plans if goal == "throughput" or plan.streams == 1] for goal in GOALS}
    begin = clock()
    end = begin + seconds
    while not state.clear:
        state.rounds += 1
        again = {plan for left in state.left.values() for plan in left}
        if state.rounds <= HALVINGS + 1:
            again |= {plan for plan in yardsticks if plan in state.samples}
        order = [plan for plan in state.samples if plan in again]
        if state.rounds % 2 == 0:
            order.reverse()  # what grows warm during a round does not always hit the same
        for number, plan in enumerate(order, 1):
            if state.rounds > 1 and clock() >= end:
                return state
            tell(f"round {state.rounds}, {number} of {len(order)}: {plan}")
            # A first round full of repetitions would leave no time for another one.
            again_until = begin + seconds / 4 if state.rounds == 1 else end
            _one_more(state, plan, measure, again_until, clock)
        if not grid:
            for goal in GOALS:
                state.left[goal] = _still_in(state, goal)
            state.clear = all(len(left) < 2 for left in state.left.values())
        if not any(state.samples.values()):
            return state
    return state


def _one_more(state: Race, plan: Plan, measure: Measure, until: float, clock: Callable[[], float]) -> None:
    for repetition in range(1 + AGAIN):
        result = measure(plan, BRIEF_S if state.rounds == 1 else LONGER_S)
        if isinstance(result, Failure):
            _out(state, result)
            return
        state.samples[plan].append(result)
        if result.others <= DISTURBED or repetition == AGAIN or clock() >= until:
            return


def _out(state: Race, failure: Failure) -> None:
    # Once is enough: what fails one time in ten is nothing for a machine that runs for months.
    state.failed.append(failure)
    del state.samples[failure.plan]
    for left in state.left.values():
        if failure.plan in left:
            left.remove(failure.plan)


def _still_in(state: Race, goal: Hint) -> list[Plan]:
    """Who is measured again for a goal; one or none when its order is clear."""
    ranking = sorted(
        (summary(plan, state.samples[plan]) for plan in state.left[goal]), key=lambda measured: measured.cost(goal)
    )
    if not ranking:
        return []
    first = ranking[0]
    if state.rounds <= HALVINGS:
        half = math.ceil(len(ranking) / 2)
        near = [m for m in ranking[half:] if m.cost(goal) <= first.cost(goal) * TIE]
        return [measured.plan for measured in ranking[:half] + near]
    if len(first.samples) >= ENOUGH:
        return []
    return [first.plan] + [measured.plan for measured in ranking[1:] if not _clearly_slower(measured, first, goal)]


def _clearly_slower(measured: Measured, first: Measured, goal: Hint) -> bool:
    """More than half of its processes are slower than nearly all of the first one, and not by a hair."""
    if measured.cost(goal) <= first.cost(goal) * TIE:
        return False
    low = np.quantile([_cost(sample, goal) for sample in undisturbed(measured.samples)], 0.25)
    high = np.quantile([_cost(sample, goal) for sample in undisturbed(first.samples)], 0.75)
    return bool(low > high)


def _cost(sample: Sample, goal: Hint) -> float:
    return sample.p50_ms if goal == "latency" else 1e3 / sample.fps
