"""What is said over MQTT: from decisions and states to JSON. `schemas/` holds the JSON Schema of each message."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json

from edge.classification import Region
from edge.clock import rfc3339
from edge.decision import Decision, Evidence
from edge.trust import Doubt

LineState = Literal["waiting", "inspecting", "blind", "fault"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model decided."""

    name: str
    version: str
    precision: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What a line has counted since the daemon started."""

    frames: int = 0
    bad_frames: int = 0
    dropped: int = 0
    decisions: int = 0
    passes: int = 0
    rejects: int = 0
    reviews: int = 0
    withheld: int = 0


def decision_message(decision: Decision, *, node: str, model: ModelInfo, part: int, message_id: str) -> Json:
    """A message on `TOPIC/defects`. `late`, the last key, is set when it is sent."""
    ruling = decision.ruling
    message: Json = {
        "schema": "edgecls/decision/1",
        "id": message_id,
        "ts": rfc3339(decision.decided_at_ns),
        "node": node,
        "line": decision.line,
        "part": part,
        "verdict": ruling.verdict,
        **_what_was_seen(ruling.evidence),
        "model": {"name": model.name, "version": model.version, "precision": model.precision},
        "latency_ms": _latencies(ruling.evidence, decision.total_ms),
    }
    if ruling.evidence is not None and ruling.evidence.regions is not None:
        message["regions"] = [region_json(region) for region in ruling.evidence.regions]
    if ruling.reason:
        message["reason"] = ruling.reason
    if ruling.seen is not None:
        seen = ruling.seen
        message["seen"] = {"frames": seen.frames, "votes": dict(seen.votes), "dwell_ms": round(seen.dwell_ms, 1)}
    if decision.trigger is not None:
        received_at_ns = decision.trigger.received_at_ns
        message["trigger"] = {
            "id": decision.trigger.id,
            "received_at": rfc3339(received_at_ns),
            "wait_ms": round(max(0, decision.decided_at_ns - received_at_ns) / 1e6, 3),
        }
    message["late"] = False
    return message


def _what_was_seen(evidence: Evidence | None) -> Json:
    if evidence is None:
        return {"label": None, "score": None, "scores": {}, "frame": None}
    classification = evidence.classification
    frame: Json = {
        "seq": evidence.seq,
        "captured_at": rfc3339(evidence.captured_at_ns),
        "width": evidence.width,
        "height": evidence.height,
    }
    if evidence.file is not None:
        frame["file"] = evidence.file
    scores = zip(classification.labels, classification.scores, strict=True)
    return {
        "label": classification.label,
        "score": round(classification.score, 4),
        "scores": {label: round(score, 4) for label, score in scores},
        "frame": frame,
    }


def region_json(region: Region) -> Json:
    """A region, in pixels of the frame."""
    return {
        "label": region.label,
        "score": round(region.score, 4),
        "area_px": region.area_px,
        "area_percent": round(region.area_percent, 4),
        "box": list(region.box),
        "centre": [round(side, 1) for side in region.centre],
    }


def _latencies(evidence: Evidence | None, total_ms: float | None) -> Json | None:
    if evidence is None or total_ms is None:
        return None
    return {
        "preprocess": round(evidence.preprocess_ms, 3),
        "infer": round(evidence.infer_ms, 3),
        "total": round(total_ms, 3),
    }


def state_message(
    *,
    node: str,
    line: str,
    state: LineState,
    reason: str,
    since_ns: int,
    now_ns: int,
    counts: Counts,
    evicted: int,
    ttl_s: int,
    doubts: Sequence[Doubt] = (),
) -> Json:
    """A retained message on `TOPIC/state`. A subscriber that hears nothing for `ttl_s` no longer knows the state."""
    message: Json = {
        "schema": "edgecls/state/1",
        "ts": rfc3339(now_ns),
        "node": node,
        "line": line,
        "state": state,
        "reason": reason,
        "since": rfc3339(since_ns),
        "ttl_s": ttl_s,
        "counts": {
            "frames": counts.frames,
            "bad_frames": counts.bad_frames,
            "dropped": counts.dropped,
            "decisions": counts.decisions,
            "pass": counts.passes,
            "reject": counts.rejects,
            "review": counts.reviews,
            "withheld": counts.withheld,
            "evicted": evicted,
        },
    }
    if state == "blind":
        message["causes"] = [
            {"cause": doubt.cause, "figure": round(doubt.figure, 4), "threshold": doubt.threshold} for doubt in doubts
        ]
    return message


def health_message(
    *,
    node: str,
    line: str,
    now_ns: int,
    fps: float,
    latency_ms: Json,
    dropped: int,
    queue: int,
    temperature: float | None,
) -> Json:
    """A retained message on `TOPIC/health`: figures of the last heartbeat interval. Degrees are Celsius."""
    return {
        "schema": "edgecls/health/1",
        "ts": rfc3339(now_ns),
        "node": node,
        "line": line,
        "fps": round(fps, 2),
        "latency_ms": latency_ms,
        "dropped": dropped,
        "queue": queue,
        "temperature_c": temperature,
    }


def status_message(
    *, node: str, status: Literal["online", "offline"], now_ns: int, version: str, lines: dict[str, str]
) -> Json:
    """A retained message on `edgecls/NODE/status`: the birth, the last will, and the goodbye of a clean stop."""
    return {
        "schema": "edgecls/status/1",
        "ts": rfc3339(now_ns),
        "node": node,
        "status": status,
        "version": version,
        "lines": [{"name": name, "topic": topic} for name, topic in lines.items()],
    }


TRIGGER_BYTES, TRIGGER_ID = 4096, 128
"""The longest payload of a trigger that is looked into, and the longest `id` in it, in characters."""


def trigger_id(payload: bytes) -> str | None:
    """What the sender of a trigger calls it: `id` of a JSON object. Any other payload is a trigger without one."""
    if len(payload) > TRIGGER_BYTES:
        return None
    try:
        given = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    given = given.get("id") if isinstance(given, dict) else None
    return given if isinstance(given, str) and len(given) <= TRIGGER_ID and given.isprintable() else None


def encode(message: Json) -> bytes:
    """UTF-8, on one line, labels in any script as they are."""
    return to_json(message)
