"""Metrics in the text format of Prometheus. Imported only when somebody may ask for them."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.histogram import Histogram
from service.metrics.families import FAMILIES, Family
from service.metrics.samples import cumulative, samples
from service.view import View

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """The metrics of a daemon. Any thread may ask; it takes some milliseconds.

    Args:
        view: the daemon.
    """

    def __init__(self, view: View) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Daemon(view))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """All of them, as `CONTENT_TYPE` says."""
        return generate_latest(self._registry)


class _Daemon(Collector):
    def __init__(self, view: View) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        families = {family.name: _made(family) for family in FAMILIES}
        for name, labels, value in samples(self._view):
            metric = families[name]
            if isinstance(value, Histogram):
                assert isinstance(metric, HistogramMetricFamily)  # noqa: S101  # as FAMILIES has it
                metric.add_metric(labels, *cumulative(value))
            else:
                assert not isinstance(metric, HistogramMetricFamily)  # noqa: S101  # as FAMILIES has it
                metric.add_metric(labels, float(value))
        # Of what this device has not, such as the sensors of another, nothing is said.
        yield from (metric for metric in families.values() if metric.samples)


def _made(family: Family) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    match family.kind:
        case "counter":
            return CounterMetricFamily(family.name, family.help, labels=family.labels)
        case "gauge":
            return GaugeMetricFamily(family.name, family.help, labels=family.labels)
        case "histogram":
            return HistogramMetricFamily(family.name, family.help, labels=family.labels)
