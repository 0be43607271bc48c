"""What is said over MQTT: from decisions and states to JSON. `schemas/` holds the JSON Schema of each message."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from edge.clock import rfc3339
from edge.decision import Decision

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


def decision_message(decision: Decision, *, node: str, model: ModelInfo, part: int, message_id: str) -> Json:
    """A message on `TOPIC/defects`. `late` is set when it is sent."""
    classification = decision.classification
    frame: Json = {
        "seq": decision.seq,
        "captured_at": rfc3339(decision.captured_at_ns),
        "width": decision.width,
        "height": decision.height,
    }
    if decision.file is not None:
        frame["file"] = decision.file
    return {
        "schema": "edgecls/decision/1",
        "id": message_id,
        "ts": rfc3339(decision.decided_at_ns),
        "node": node,
        "line": decision.line,
        "part": part,
        "verdict": decision.verdict,
        "label": classification.label,
        "score": round(classification.score, 4),
        "scores": {label: round(s, 4) for label, s in zip(classification.labels, classification.scores, strict=True)},
        "frame": frame,
        "model": {"name": model.name, "version": model.version, "precision": model.precision},
        "latency_ms": {
            "preprocess": round(decision.latency.preprocess, 3),
            "infer": round(decision.latency.infer, 3),
            "total": round(decision.latency.total, 3),
        },
        "late": False,
    }


def state_message(
    *, node: str, line: str, state: LineState, reason: str, since_ns: int, now_ns: int, counts: Counts, ttl_s: int
) -> Json:
    """A retained message on `TOPIC/state`. A subscriber that hears nothing for `ttl_s` no longer knows the state."""
    return {
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
        },
    }


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


def encode(message: Json) -> bytes:
    """UTF-8, on one line, labels in any script as they are."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
