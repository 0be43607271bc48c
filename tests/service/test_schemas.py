"""What the JSON Schemas allow, and what they do not: the examples of docs/messages.md, changed in one place."""

from typing import Any

import pytest
from jsonschema import ValidationError
from schemas import check, examples, validator

Message = dict[str, Any]


DECISION, _, TIMEOUT, REGIONS = examples("decision")


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "pass"},
        {"verdict": "reject"},
        {"label": "scratch"},
        {"score": 0.5},
        {"scores": {"ok": 0.5, "scratch": 0.5}},
        {"frame": DECISION["frame"]},
        {"latency_ms": DECISION["latency_ms"]},
    ],
    ids="".join,
)
def test_without_a_picture_all_that_tells_of_one_is_missing(change: Message) -> None:
    with pytest.raises(ValidationError):
        check("defects", {**TIMEOUT, **change})


def test_without_a_picture_there_is_a_reason() -> None:
    with pytest.raises(ValidationError):
        check("defects", {field: value for field, value in TIMEOUT.items() if field != "reason"})


def test_a_part_of_which_there_is_no_picture_needs_no_trigger() -> None:
    part = {field: value for field, value in TIMEOUT.items() if field != "trigger"}
    seen = {"frames": 0, "votes": {}, "dwell_ms": 33.3}
    check("defects", {**part, "seen": seen, "reason": "the part was never in view as a whole"})


@pytest.mark.parametrize(
    "change",
    [
        *({key: None} for key in ("label", "score", "frame", "latency_ms")),
        {"scores": {}},
        {"reason": ""},
        {"seen": {"frames": -1, "votes": {}, "dwell_ms": 0}},
        {"seen": {"frames": 1, "votes": {"scratch": 0.5}, "dwell_ms": 0}},
        {"seen": {"frames": 1, "votes": {}}},
        {"trigger": {"id": "x" * 129, "received_at": "2026-11-22T07:13:30.200211Z", "wait_ms": 1}},
        {"trigger": {"id": None, "received_at": "soon", "wait_ms": 1}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_with_a_picture_everything_is_told_of_it(change: Message) -> None:
    with pytest.raises(ValidationError):
        check("defects", {**DECISION, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "seen in 2 frames only"},
        {"verdict": "pass", "label": "ok"},
        {"trigger": {"id": None, "received_at": "2026-11-22T07:13:30.200211Z", "wait_ms": 12.5}},
    ],
    ids="".join,
)
def test_what_may_come_with_any_picture(change: Message) -> None:
    check("defects", {**DECISION, **change})


def test_a_state_may_give_a_reason_while_inspecting() -> None:
    message = examples("state")[0]
    message["reason"] = "the outbox cannot be written: decisions wait in memory"
    check("state", message)


@pytest.mark.parametrize("count", sorted(examples("state")[0]["counts"]))
def test_a_state_counts_everything(count: str) -> None:
    message = examples("state")[0]
    del message["counts"][count]
    with pytest.raises(ValidationError):
        check("state", message)


@pytest.mark.parametrize("trigger", [1, "now", None, [], {}, {"id": ""}, {"id": "x" * 128, "more": 1}], ids=str)
def test_anything_is_a_trigger(trigger: Any) -> None:
    validator("trigger").validate(trigger)


@pytest.mark.parametrize("trigger", [{"id": 17}, {"id": "x" * 129}, {"id": None}], ids=str)
def test_an_id_that_will_not_come_back_is_not_valid(trigger: Any) -> None:
    with pytest.raises(ValidationError):
        validator("trigger").validate(trigger)


@pytest.mark.parametrize(
    "change",
    [
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, 4, 5]},
        {"box": [1, 2, 0, 4]},
        {"box": [1.5, 2, 3, 4]},
        {"centre": [1]},
        {"score": 1.1},
        {"area_percent": 101},
        {"area_px": None},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_region_has_all_of_its_figures(change: Message) -> None:
    region = {**REGIONS["regions"][0], **change}
    with pytest.raises(ValidationError):
        check("defects", {**REGIONS, "regions": [region]})
    check("defects", {**REGIONS, "regions": []})


def test_without_a_picture_there_are_no_regions() -> None:
    with pytest.raises(ValidationError):
        check("defects", {**TIMEOUT, "regions": []})
