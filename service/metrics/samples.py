"""The values of the metrics now, read from what the threads count anyway: nothing is done while nobody asks."""

import resource
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple, get_args

from edge.histogram import Histogram
from service.health import free_bytes, temperatures_c, throttled
from service.lines import Managed
from service.messages import LineState
from service.view import View


class Sample(NamedTuple):
    """One value of a metric, by the name of its family and the values of its labels in their order."""

    name: str
    labels: tuple[str, ...]
    value: float | Histogram


def samples(view: View) -> Iterator[Sample]:
    """All of them."""
    yield Sample("edgecls_info", (view.node, view.version), 1)
    for managed in view.lines():
        yield from _of_line(managed)
    yield from _of_publisher(view)
    yield from _of_evidence(view)
    yield from _of_device()


def _of_line(managed: Managed) -> Iterator[Sample]:
    line, name, engine = managed.line, managed.line.name, managed.engine
    model = engine.bundle.manifest
    what = (name, managed.section.topic, model.name, model.version, engine.precision, engine.plan.backend)
    yield Sample("edgecls_line_info", what, 1)
    now = "fault" if line.hang is not None else line.status.state
    for state in get_args(LineState):
        yield Sample("edgecls_line_state", (name, state), state == now)
    yield Sample("edgecls_line_state_since_timestamp_seconds", (name,), line.status.since_ns / 1e9)
    counts = line.counts
    yield Sample("edgecls_frames", (name,), counts.frames)
    yield Sample("edgecls_bad_frames", (name,), counts.bad_frames)
    yield Sample("edgecls_dropped_frames", (name,), counts.dropped)
    yield Sample("edgecls_source_losses", (name,), line.tally.source_losses)
    for (verdict, label), count in sorted(line.tally.decided.items()):
        yield Sample("edgecls_decisions", (name, verdict, label), count)
    yield Sample("edgecls_withheld_decisions", (name,), counts.withheld)
    for stage, histogram in line.stages.histograms().items():
        yield Sample("edgecls_stage_seconds", (name, stage), histogram)


def _of_publisher(view: View) -> Iterator[Sample]:
    publisher = view.publisher
    evicted = publisher.evicted
    for managed in view.lines():
        name = managed.line.name
        yield Sample("edgecls_evicted_decisions", (name,), evicted.get(name, 0))
        if (histogram := publisher.delivery.by_line.get(name)) is not None:
            yield Sample("edgecls_acknowledged_seconds", (name,), histogram)
    yield Sample("edgecls_outbox_messages", (), publisher.backlog)
    yield Sample("edgecls_outbox_failed", (), bool(publisher.problem))
    if (free := free_bytes(view.outbox.parent)) is not None:
        yield Sample("edgecls_outbox_free_bytes", (), free)
    yield Sample("edgecls_broker_connected", (), view.connection.connected)
    yield Sample("edgecls_broker_connections", (), view.connection.connections)


def _of_evidence(view: View) -> Iterator[Sample]:
    evidence = view.evidence
    for managed in view.lines():
        yield Sample("edgecls_evidence_kept", (managed.line.name,), evidence.kept[managed.line.name])
    for (line, reason), count in sorted(dict(evidence.unkept).items()):
        yield Sample("edgecls_evidence_unkept", (line, reason), count)
    counts = evidence.counts
    yield Sample("edgecls_evidence_pictures", (), counts["items"])
    yield Sample("edgecls_evidence_bytes", (), counts["bytes"])
    yield Sample("edgecls_evidence_failed", (), bool(evidence.problem))


def _of_device() -> Iterator[Sample]:
    for sensor, celsius in temperatures_c().items():
        yield Sample("edgecls_temperature_celsius", (sensor,), celsius)
    for cause, is_so in (throttled() or {}).items():
        yield Sample("edgecls_throttled", (cause,), is_so)
    yield Sample("edgecls_minor_page_faults", (), resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def cumulative(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    """The buckets as Prometheus counts them, each with its upper edge, and the sum in seconds."""
    sum_s, counts = histogram.sum_s, list(histogram.counts)
    edges = [*(f"{edge:g}" for edge in histogram.edges_s), "+Inf"]
    return list(zip(edges, map(float, accumulate(counts)), strict=True)), sum_s
