"""Who wins, on plain records."""

from dataclasses import replace

from edge.backends import Plan
from edge.tuning import Measured, Sample, best

ONE = Measured(Plan("onnxruntime", "cpu", "int8", 1), p50_ms=2.0, fps=500, cpu_ms=2.0, peak_mib=90)
TWO = replace(ONE, plan=replace(ONE.plan, threads=2), p50_ms=1.99, fps=505, cpu_ms=3.9)
SPINNING = replace(TWO, plan=replace(TWO.plan, spinning=True))
OTHER = replace(ONE, plan=replace(ONE.plan, backend="openvino"), peak_mib=140)
STREAMS = replace(ONE, plan=replace(ONE.plan, streams=2), fps=900)


def test_the_quickest_wins_when_it_is_clearly_quicker() -> None:
    quick = replace(TWO, p50_ms=1.9, fps=530)
    assert best([ONE, quick], "latency") == quick
    assert best([ONE, quick, STREAMS], "throughput") == STREAMS


def test_latency_is_about_one_at_a_time() -> None:
    assert best([ONE, replace(STREAMS, p50_ms=0.1)], "latency") == ONE


def test_of_those_that_tie_the_one_with_less_cpu_time_wins() -> None:
    for order in ([ONE, TWO], [TWO, ONE]):
        assert best(order, "latency") == ONE
        assert best(order, "throughput") == ONE


def test_then_the_one_with_less_memory() -> None:
    assert best([replace(OTHER, p50_ms=1.98), ONE], "latency") == ONE
    assert best([replace(OTHER, p50_ms=1.98, cpu_ms=1.5), ONE], "latency") == replace(OTHER, p50_ms=1.98, cpu_ms=1.5)


def test_then_the_simpler_one() -> None:
    two, spinning = replace(TWO, cpu_ms=2.0), replace(SPINNING, cpu_ms=2.0)
    assert best([spinning, two], "latency") == two
    assert best([spinning, two, ONE], "latency") == ONE
    assert best([replace(OTHER, peak_mib=90), ONE], "latency") == ONE


def test_what_was_measured_once_is_not_compared_with_what_was_measured_often() -> None:
    often = replace(ONE, samples=(Sample(2.0, 500),) * 9)
    lucky = replace(TWO, p50_ms=1.5, samples=(Sample(1.5, 600),))
    assert best([often, lucky], "latency") == often
    assert best([replace(often, samples=often.samples[:1]), lucky], "latency") == lucky


def test_nothing_is_the_best_of_nothing() -> None:
    assert best([], "latency") is None
