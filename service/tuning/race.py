"""The race: all plans briefly, the better half again, the finalists until the order is clear or the time is up.

Processes of the same plan differ by more than the inferences of one, so that each plan is measured in several short
ones, round by round, and a slow minute of the device hits all alike.

What else happens on a device, or beside a virtual one, only ever makes a process slower. So the quicker third of a
plan's processes says more about it than their middle, and in the first rounds, with one process or two of each, the
quickest one.
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
"""Processes of one plan: with more of them its figures move no more."""
QUICKER = 1 / 3
"""The share of a plan's processes that are quicker than what counts as its figure."""
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
        """What the plans come to, in their order."""
        return [summary(plan, samples) for plan, samples in self.samples.items() if samples]


def summary(plan: Plan, samples: Sequence[Sample]) -> Measured:
    """What some samples come to."""
    quantiles = {"p50_ms": QUICKER, "fps": 1 - QUICKER, "cpu_ms": 0.5, "peak_mib": 0.5}
    figures = {
        key: float(np.quantile([getattr(sample, key) for sample in undisturbed(samples)], share))
        for key, share in quantiles.items()
    }
    return Measured(plan, **figures, samples=tuple(samples))


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
    if not state.left[goal]:
        return []
    if state.rounds <= HALVINGS:
        quickest = {plan: _quickest(state.samples[plan], goal) for plan in state.left[goal]}
        plans = sorted(quickest, key=quickest.__getitem__)
        half = math.ceil(len(plans) / 2)
        return plans[:half] + [plan for plan in plans[half:] if quickest[plan] <= quickest[plans[0]] * TIE]
    ranking = sorted(
        (summary(plan, state.samples[plan]) for plan in state.left[goal]), key=lambda measured: measured.cost(goal)
    )
    first = ranking[0]
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


def _quickest(samples: Sequence[Sample], goal: Hint) -> float:
    return min(_cost(sample, goal) for sample in undisturbed(samples))


def _cost(sample: Sample, goal: Hint) -> float:
    return sample.p50_ms if goal == "latency" else 1e3 / sample.fps
