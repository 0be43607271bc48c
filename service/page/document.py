"""What the page is told: one JSON document with everything on it. Made in the thread `http` when somebody looks."""

import asyncio
from importlib.metadata import version
from typing import Any

from edge.decision import Decision
from edge.engine import Engine
from service.health import LineHealth
from service.lines import Managed
from service.messages import region_json
from service.page.charts import Charts
from service.page.device import Look
from service.page.node import Node
from service.page.shift import Counted

Json = dict[str, Any]


class Document:
    """Makes it.

    Args:
        node: what it tells of.
        charts: what was, for those who come.
    """

    def __init__(self, node: Node, charts: Charts) -> None:
        self._node = node
        self._charts = charts
        self._version = version("edgecls")
        self._rates: dict[Managed, LineHealth] = {}
        """Of the lines that somebody looks at: frames per second from one second to the next."""
        self._device: Json = {}
        self._tuned: dict[Engine, Json] = {}

    def learn(self, looked: "asyncio.Future[Look]") -> None:
        """What was found when the device was looked at."""
        if not looked.cancelled() and looked.exception() is None:
            self._device, self._tuned = looked.result()

    def first(self) -> Json:
        """For somebody who comes: with all that does not change, and what was."""
        document = self.now()
        for managed, line in zip(self._node.view.lines(), document["lines"], strict=False):
            line["history"] = self._charts.of(managed.line.name)
            line["about"] = self._about(managed)
        return document

    def now(self) -> Json:
        """What may have changed within a second."""
        node, now_ns = self._node, self._node.clock.now_ns()
        lines = node.view.lines()
        self._rates = {managed: self._rates.get(managed, LineHealth()) for managed in lines}
        told = [self._line(managed, now_ns) for managed in lines]
        return {
            "node": node.settings.node,
            "version": self._version,
            "now_ms": now_ns // 1_000_000,
            "shift": {"since_ms": round(node.shift.since_s * 1e3), "until_ms": round(node.shift.until_s * 1e3)},
            "lines": told,
            "broker": {
                "where": node.view.connection.where,
                "connected": node.view.connection.connected,
                "problem": node.view.connection.problem,
            },
            "outbox": {"waiting": node.view.publisher.backlog, "problem": node.view.publisher.problem},
            "device": self._device,
            "note": node.note(),
        }

    def _line(self, managed: Managed, now_ns: int) -> Json:
        line, hang = managed.line, managed.line.hang
        status, counts = line.status, line.counts
        shift, before = self._node.shift.of(line.name, now_ns / 1e9)
        rate = self._rates[managed]
        points = self._charts.of(line.name)
        return {
            "name": line.name,
            "state": "fault" if hang else status.state,
            "reason": str(hang) if hang else status.reason,
            "since_ms": (now_ns - int(hang.seconds * 1e9) if hang else status.since_ns) // 1_000_000,
            "causes": [doubt.cause for doubt in line.doubts],
            "shift": _counted(shift),
            "before": _counted(before),
            "frames": counts.frames,
            "bad_frames": counts.bad_frames,
            "dropped": counts.dropped,
            "withheld": counts.withheld,
            "evicted": self._node.view.publisher.evicted.get(line.name, 0),
            "fps": round(rate.fps(counts.frames, self._node.clock.monotonic_ns()), 1),
            "latency_ms": managed.health.last_latency_ms,
            "point": points[-1] if points else None,
            "last": _decision(self._node.shift.last(line.name)),
        }

    def _about(self, managed: Managed) -> Json:
        manifest, engine = managed.engine.bundle.manifest, managed.engine
        return {
            "topic": managed.section.topic,
            "roi": managed.section.roi,
            "per": managed.section.decide.per,
            "labels": list(engine.bundle.labels),
            "pass_label": manifest.pass_label,
            "model": f"{manifest.name} {manifest.version}",
            "engine": str(engine.plan),
            "why": engine.why,
            "tuned": self._tuned.get(engine),
        }


def _counted(counted: Counted) -> Json:
    verdicts = {verdict: counted.verdicts[verdict] for verdict in ("pass", "reject", "review")}
    decided = sum(verdicts.values())
    return {
        **verdicts,
        "decided": decided,
        "yield": round(verdicts["pass"] / decided, 5) if decided else None,
        "defects": counted.defects.most_common(),
    }


def _decision(decision: Decision | None) -> Json | None:
    if decision is None:
        return None
    ruling, evidence = decision.ruling, decision.ruling.evidence
    told: Json = {
        "at_ms": decision.decided_at_ns // 1_000_000,
        "verdict": ruling.verdict,
        "reason": ruling.reason,
        "label": None,
        "score": None,
        "total_ms": None if decision.total_ms is None else round(decision.total_ms, 2),
        "infer_ms": None,
        "regions": [],
        "frame": None,
    }
    if evidence is not None:
        told["label"] = evidence.classification.label
        told["score"] = round(evidence.classification.score, 4)
        told["infer_ms"] = round(evidence.infer_ms, 2)
        told["frame"] = [evidence.width, evidence.height]
        told["regions"] = [region_json(region) for region in evidence.regions or ()]
    return told
