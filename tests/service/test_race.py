"""The race, on a device made of figures: who is measured again, and when it ends."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pytest

from edge.backends import BackendName, EngineSettings, Plan
from edge.bundle import Bundle, load_bundle
from edge.tuning import Sample, best
from service.tuning.candidates import candidates
from service.tuning.measure import Failure
from service.tuning.race import ENOUGH, HALVINGS, Race, race, summary
from service.tuning.report import int8_against_fp32


@dataclass
class Bench:
    """Every process takes a second; a plan is as quick as its threads say, a little more or less each time."""

    now: float = 0.0
    p50_ms: dict[int, float] = field(default_factory=dict)
    others: float = 0.0
    measured: Counter[int] = field(default_factory=Counter)
    wobble: "cycle[float]" = field(default_factory=lambda: cycle((1.0, 1.004, 0.996, 1.001)))

    def clock(self) -> float:
        return self.now

    def measure(self, plan: Plan, _seconds: float) -> Sample | Failure:
        self.now += 1
        self.measured[plan.threads] += 1
        if plan.threads not in self.p50_ms:
            return Failure(plan, "crashed", "its process was killed by SIGSEGV")
        p50_ms = self.p50_ms[plan.threads] * next(self.wobble)
        return Sample(p50_ms, 1e3 / p50_ms, others=self.others)

    def run(self, count: int, seconds: float = 1000, *, grid: bool = False) -> Race:
        plans = [Plan("onnxruntime", "cpu", "int8", threads) for threads in range(1, count + 1)]
        return race(plans, self.measure, seconds=seconds, clock=self.clock, tell=lambda _: None, grid=grid)


def test_the_better_half_goes_on_and_the_race_ends_when_the_order_is_clear() -> None:
    bench = Bench(p50_ms={n: float(n) for n in range(1, 9)})
    state = bench.run(8)
    assert state.clear
    assert dict(bench.measured) == {1: 3, 2: 3, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1}
    won = best(state.measured(), "latency")
    assert won is not None
    assert won.plan.threads == 1


def test_two_that_are_equally_quick_are_measured_until_it_is_enough() -> None:
    bench = Bench(p50_ms={1: 1.0, 2: 1.001, 3: 3.0, 4: 4.0})
    assert bench.run(4).clear
    assert bench.measured == {1: ENOUGH, 2: ENOUGH, 3: 1, 4: 1}


def test_a_plan_that_was_slow_by_bad_luck_is_not_dropped_for_it() -> None:
    """Its two threads shared one core in the second process; the others go on at their own speed."""
    bench = Bench(p50_ms={1: 1.0, **{n: 1.5 + n / 10 for n in range(2, 9)}})
    measure = bench.measure

    def unlucky(plan: Plan, _seconds: float) -> Sample | Failure:
        sample = measure(plan, _seconds)
        return Sample(4.0, 250) if plan.threads == 1 and bench.measured[1] == 2 else sample

    bench.measure = unlucky  # type: ignore[method-assign]  # put in its place
    won = best(bench.run(8).measured(), "latency")
    assert won is not None
    assert won.plan.threads == 1


def test_what_only_makes_slower_does_not_count() -> None:
    samples = [Sample(p50_ms, 1e3 / p50_ms) for p50_ms in (1.3, 2.4, 1.3, 2.5, 1.3, 1.7)]
    found = summary(Plan("onnxruntime", "cpu", "int8"), samples)
    assert (round(found.p50_ms, 1), round(found.fps)) == (1.3, 769)


def test_everyone_is_measured_once_and_then_time_counts() -> None:
    bench = Bench(p50_ms=dict.fromkeys(range(1, 9), 1.0))
    state = bench.run(8, seconds=3)
    assert not state.clear
    assert bench.measured == dict.fromkeys(range(1, 9), 1)


def test_the_grid_drops_nobody() -> None:
    bench = Bench(p50_ms={n: float(n) for n in range(1, 5)})
    bench.run(4, seconds=20, grid=True)
    assert bench.measured == dict.fromkeys(range(1, 5), 5)


def test_who_fails_is_out_and_the_others_go_on() -> None:
    bench = Bench(p50_ms={1: 1.0, 3: 3.0})
    state = bench.run(3)
    assert [failure.plan.threads for failure in state.failed] == [2]
    assert [measured.plan.threads for measured in state.measured()] == [1, 3]
    assert Bench().run(3).measured() == []


def test_a_process_that_was_disturbed_is_measured_again_and_does_not_count() -> None:
    bench = Bench(p50_ms={1: 9.0}, others=1.0)
    bench.run(1)
    assert bench.measured[1] > HALVINGS
    plan = Plan("onnxruntime", "cpu", "int8")
    assert summary(plan, [Sample(9.0, 100, others=1.0), Sample(1.0, 1000), Sample(9.0, 100, others=0.5)]).p50_ms == 1.0
    assert summary(plan, [Sample(9.0, 100, others=1.0)]).p50_ms == 9.0


@pytest.fixture
def bundle(surface_demo: Path) -> Bundle:
    return load_bundle(surface_demo)


def test_no_candidate_uses_more_cores_than_allowed(bundle: Bundle) -> None:
    alone = candidates(bundle, EngineSettings(), 1)
    assert {(plan.threads, plan.streams, plan.spinning) for plan in alone} == {(1, 1, False)}
    three = candidates(bundle, EngineSettings(), 3)
    assert {(plan.threads, plan.streams) for plan in three} == {(1, 1), (1, 2), (1, 3), (2, 1), (3, 1)}
    assert len(set(three)) == len(three)
    assert {plan.hint for plan in three if plan.streams > 1} == {"throughput"}


def test_what_the_configuration_fixes_stays_fixed(bundle: Bundle) -> None:
    found = candidates(bundle, EngineSettings("openvino", precision="fp32", pinning=True), 2)
    assert {(plan.backend, plan.precision, plan.pinning) for plan in found} == {("openvino", "fp32", True)}


def test_the_stick_is_a_candidate_where_its_openvino_is_configured(bundle: Bundle) -> None:
    assert not any(plan.device == "ncs2" for plan in candidates(bundle, EngineSettings(), 2))
    found = candidates(bundle, EngineSettings(openvino_dir=Path("/opt/intel")), 2)
    assert {plan.precision for plan in found if plan.device == "ncs2"} == {"fp32"}


def test_int8_that_loses_is_told_for_each_backend_and_overall() -> None:
    def one(backend: BackendName, precision: str, p50_ms: float) -> Plan:
        plans.append((Plan(backend, "cpu", precision), p50_ms))  # type: ignore[arg-type]  # Literals, from parameters
        return plans[-1][0]

    plans: list[tuple[Plan, float]] = []
    one("onnxruntime", "int8", 4.0)
    one("onnxruntime", "fp32", 3.6)
    one("openvino", "int8", 2.0)
    one("openvino", "fp32", 2.2)
    measured = [summary(plan, [Sample(p50_ms, 1e3 / p50_ms)]) for plan, p50_ms in plans]
    assert int8_against_fp32(measured) == [
        "INT8 loses to FP32 on onnxruntime, device cpu: 4.00 ms against 3.60 ms.",
    ]
    assert "INT8 loses to FP32 overall: 4.00 ms against 3.60 ms." in int8_against_fp32(measured[:2])
