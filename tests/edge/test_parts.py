"""Rendered lines through the whole pipeline: one decision per part, and nearly always the right one.

The seeds were drawn at random, once.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from belt import calm, film, inspected, scored, truth_beside

from edge.decision import Decision
from edge.frame import Frame
from models.score_parts import read_truth

CLIPS: dict[str, dict[str, Any]] = {
    "right": {"seed": 3_306_971, "direction": "right", "variety": calm()},
    "left": {"seed": 3_645_015, "direction": "left", "variety": calm()},
    "down": {"seed": 3_563_200, "direction": "down", "variety": calm()},
    "up": {"seed": 3_459_159, "direction": "up", "variety": calm()},
    "touching": {"seed": 3_468_192, "variety": calm(touching=0.6)},
    "stops": {"seed": 3_600_607, "variety": calm(stops=40)},
    "backs": {"seed": 3_164_084, "variety": calm(backs=70)},
    "cut off at both ends": {"seed": 3_525_569, "variety": calm(begin_in_view=1, end_in_view=1)},
    "light": {"seed": 3_384_648, "variety": calm()},
}

Outcome = tuple[list[Decision], dict[str, Any], dict[str, Any]]


def steps_of_light(frame: Frame) -> Frame:
    """A lamp that goes and comes again every second and a half."""
    gain = 0.8 if frame.seq // 45 % 2 else 1.0
    return replace(frame, image=np.asarray(cv2.convertScaleAbs(frame.image, alpha=gain), np.uint8))


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Each clip is rendered and inspected once, when it is asked for."""
    folder, bundle = tmp_path_factory.mktemp("parts"), Path(__file__).resolve().parents[2] / "models/surface-demo"

    class Outcomes(dict[str, Outcome]):
        def __missing__(self, name: str) -> Outcome:
            video = film(folder / name, **{"parts": 6, "style": "random", **CLIPS[name]})
            decisions = inspected(video, bundle, steps_of_light) if name == "light" else inspected(video, bundle)
            self[name] = decisions, scored(video, decisions), read_truth(truth_beside(video))
            return self[name]

    return Outcomes()


@pytest.mark.parametrize("name", CLIPS)
def test_every_part_gets_one_decision(outcomes: dict[str, Outcome], name: str) -> None:
    decisions, report, truth = outcomes[name]
    complete = report["complete"]
    assert complete["parts"] == 6 - 2 * (name == "cut off at both ends")
    assert (complete["none"], complete["several"], report["no_part"]) == ([], [], [])
    assert report["cut_off"]["several"] == []
    assert len(decisions) <= len(truth["parts"])
    assert all(decision.ruling.seen is not None for decision in decisions)


@pytest.mark.parametrize(("name", "group"), [("touching", "touching"), ("stops", "stopped"), ("backs", "went_back")])
def test_what_a_clip_is_for_does_happen_in_it(outcomes: dict[str, Outcome], name: str, group: str) -> None:
    assert outcomes[name][1][group]["parts"] >= 2


def test_nearly_all_verdicts_are_right(outcomes: dict[str, Outcome]) -> None:
    reports = [outcomes[name][1]["complete"] for name in CLIPS]
    parts = sum(report["parts"] for report in reports)
    right = sum(report["one_and_right_share"] * report["parts"] for report in reports)
    assert right >= 0.95 * parts


def test_a_part_is_decided_when_it_begins_to_leave(outcomes: dict[str, Outcome]) -> None:
    decisions, _, truth = outcomes["right"]
    for decision in decisions:
        seen, evidence = decision.ruling.seen, decision.ruling.evidence
        assert seen is not None
        assert evidence is not None
        (there,) = [row for row in truth["frames"] if row["seq"] == evidence.seq]
        assert any(low >= 0 and high <= truth["width"] for _, low, high in there["parts"])
        assert seen.frames == sum(seen.votes.values()) > 5
        assert evidence.classification.label == max(seen.votes, key=lambda label: seen.votes[label])
        assert seen.dwell_ms > 300
