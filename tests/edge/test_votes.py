"""From votes to a ruling, and parts that the model itself sees come and go."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edge.bundle import Manifest, load_bundle
from edge.classification import Classification
from edge.deciders import make_decider
from edge.decision import DecideSettings, Dwell, Evidence, Judge, Ruling, Votes
from edge.parts import UNSEEN, PerPart, PerPartByLabel, VoteCount
from edge.parts import Votes as Seen

LABELS = ("ok", "scratch", "stain", "empty")
LETTERS = {"o": "ok", "s": "scratch", "t": "stain", ".": "empty"}
NOTHING = np.zeros((1, 1, 3), np.uint8)
FRAME_NS = 33_333_333


def scores(label: str, score: float = 0.9, *, absent: float | None = None) -> Classification:
    rest = (1 - score) / (len(LABELS) - 1)
    values = {name: score if name == label else rest for name in LABELS}
    if absent is not None:
        values |= {"empty": absent}
    return Classification(LABELS, tuple(values.values()))


def evidence(classification: Classification, seq: int = 0) -> Evidence:
    return Evidence(classification, seq, seq * FRAME_NS, 1, 1, None, 0, 0)


def count(letters: str, *clear: float, partly: bool = False, **settings: Any) -> Ruling:
    """The ruling on one part whose frames show these labels, with these scores (else 0.9)."""
    made = DecideSettings(**settings)
    frames = [evidence(scores(LETTERS[letter], clear[n] if clear else 0.9), seq=n) for n, letter in enumerate(letters)]
    seen = Seen(0, len(letters) * FRAME_NS)
    (seen.partly if partly else seen.whole).extend(frames)
    return VoteCount(made, Judge("ok", "empty", made.min_score, made.thresholds)).ruling(seen)


@pytest.mark.parametrize(
    ("letters", "verdict", "reason"),
    [
        ("ooooo", "pass", ""),
        ("sssss", "reject", ""),
        ("oooss", "review", "score 0.55 of ok is below min_score 0.6"),
        ("ssssoss", "reject", ""),
        ("oo", "review", "the part was seen in 2 frames and votes.need is 3"),
        ("o", "review", "the part was seen in 1 frame and votes.need is 3"),
        ("ostos", "review", "the frames disagree: ok 2, scratch 2, stain 1"),
        ("", "review", UNSEEN),
    ],
)
def test_votes_become_a_verdict(letters: str, verdict: str, reason: str) -> None:
    ruling = count(letters)
    assert (ruling.verdict, ruling.reason) == (verdict, reason)
    assert ruling.seen is not None
    assert ruling.seen.frames == sum(ruling.seen.votes.values()) == len(letters)


@pytest.mark.parametrize(("letters", "verdict"), [("ssssss" + "oooo", "reject"), ("sssss" + "ooooo", "review")])
def test_need_of_of_is_a_share_of_all_frames(letters: str, verdict: str) -> None:
    ruling = count(letters, min_score=0.1, votes=Votes(of=5, need=3))
    assert ruling.verdict == verdict
    assert count(letters, min_score=0.1, votes=Votes(of=2, need=1)).verdict != "review"


def test_a_threshold_of_its_own_counts_for_a_label() -> None:
    assert (
        count("sssss", thresholds={"scratch": 0.95}).reason == "score 0.90 of scratch is below thresholds.scratch 0.95"
    )
    assert count("sssss", thresholds={"stain": 0.95}).verdict == "reject"


def test_the_evidence_is_the_frame_that_shows_it_most_clearly() -> None:
    ruling = count("sosss", 0.7, 0.99, 0.8, 0.95, 0.85)
    assert ruling.evidence is not None
    assert ruling.evidence.seq == 3


def test_frames_that_show_a_piece_of_a_part_never_pass_it() -> None:
    ruling = count("ooooo", partly=True)
    assert (ruling.verdict, ruling.reason) == ("review", UNSEEN)
    assert ruling.evidence is not None


def test_dwell_is_told_in_milliseconds() -> None:
    seen = count("oooooo").seen
    assert seen is not None
    assert seen.dwell_ms == pytest.approx(200, abs=1)


def by_label(frames: Sequence[str | Classification], **settings: Any) -> list[tuple[int, Ruling]]:
    """With the frame after which each ruling came; the end of the source is one frame more."""
    decider = make_decider(DecideSettings(**settings), "ok", absent_label="empty")
    assert isinstance(decider, PerPartByLabel)
    told = []
    for seq, frame in enumerate(frames):
        said = frame if isinstance(frame, Classification) else scores(LETTERS[frame])
        assert decider.look(NOTHING, seq * FRAME_NS) is not None
        decider.take(evidence(said, seq))
        told += [(seq, ruling) for ruling in decider.rulings()]
    return told + [(len(frames), ruling) for ruling in decider.finish()]


@pytest.mark.parametrize(
    ("letters", "told"),
    [
        ("..ooooo..", [(8, "pass")]),
        ("..ooooo.ooo..", [(12, "pass")]),  # a single odd frame does not make two of one
        ("..ooooo..sssss..", [(8, "pass"), (15, "reject")]),
        ("..o..s..", []),  # too short to be a part
        ("..sssss", [(7, "reject")]),  # the source ends
        ("sssss..", [(6, "reject")]),  # it was there from the start
        (".......", []),
        ("", []),
    ],
)
def test_the_label_for_nothing_parts_the_parts(letters: str, told: list[tuple[int, str]]) -> None:
    assert [(seq, ruling.verdict) for seq, ruling in by_label(letters)] == told


def test_a_part_that_is_there_needs_more_to_go_than_to_stay() -> None:
    unsure, sure = scores("ok", 0.45, absent=0.5), scores("ok")
    assert len(by_label([sure, unsure, unsure, sure, unsure, unsure, sure, sure])) == 1
    assert by_label([unsure] * 10) == []
    gone = scores("empty", 0.65)
    assert len(by_label([*[sure] * 4, gone, gone, *[sure] * 4])) == 2


def test_frames_that_show_nothing_do_not_vote() -> None:
    ((_, ruling),) = by_label([*[scores("ok")] * 4, *[scores("ok", 0.3, absent=0.55)] * 3, scores("ok")])
    assert ruling.seen is not None
    assert ruling.seen.votes == {"ok": 5}


def test_a_part_that_stays_is_decided_once() -> None:
    told = by_label("o" * 100 + "..ooooo..", dwell=Dwell(max_s=1.0))
    assert [seq for seq, _ in told] == [31, 108]


def test_what_comes_too_soon_is_no_new_part() -> None:
    letters = "ooooo.." * 3
    assert len(by_label(letters)) == 3
    assert len(by_label(letters, cooldown_s=0.25)) == 2


def test_presence_chooses_how_parts_are_found() -> None:
    def made(absent_label: str | None, **settings: Any) -> type:
        return type(make_decider(DecideSettings(**settings), "ok", absent_label))

    assert made("empty") is made("empty", presence="label") is PerPartByLabel
    assert made(None) is made(None, presence="background") is made("empty", presence="background") is PerPart


@pytest.mark.parametrize("label", ["ok", "nothing"])
def test_the_absent_label_is_a_label_and_not_the_pass_label(surface_demo: Any, label: str) -> None:
    manifest = load_bundle(surface_demo).manifest.model_dump(by_alias=True)
    assert Manifest.model_validate(manifest | {"absent_label": "stain"}).absent_label == "stain"
    with pytest.raises(ValueError, match=f"absent_label '{label}' is not one of labels, or is the pass_label"):
        Manifest.model_validate(manifest | {"absent_label": label})
