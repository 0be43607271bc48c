import numpy as np
import pytest

from edge.classification import Classification
from edge.deciders import make_decider
from edge.decision import Decider, DecideSettings, Evidence, Ruling, Votes

LABELS = ("ok", "scratch", "stain")


def seen(label: str, score: float = 0.9) -> Classification:
    rest = (1 - score) / 2
    return Classification(LABELS, tuple(score if name == label else rest for name in LABELS))


NOTHING = np.zeros((1, 1, 3), np.uint8)


def decide(decider: Decider, classification: Classification) -> Ruling | None:
    assert decider.look(NOTHING, 0) is not None
    decider.take(Evidence(classification, 0, 0, 1, 1, None, 0, 0))
    return next(iter(decider.rulings()), None)


def told(decider: Decider, sequence: str, unclear: str = "?") -> str:
    """o, s, t: a clear ok, scratch, stain; ?: unclear. Answers p, j (reject), v (review), . (nothing) per frame."""
    letters = {"o": "ok", "s": "scratch", "t": "stain"}
    answers = {"pass": "p", "reject": "j", "review": "v"}
    rulings = [
        decide(decider, seen("scratch", 0.4) if letter == unclear else seen(letters[letter])) for letter in sequence
    ]
    return "".join(answers[ruling.verdict] if ruling else "." for ruling in rulings)


def test_per_frame_tells_every_frame() -> None:
    assert told(make_decider(DecideSettings(per="frame"), "ok"), "oos?t") == "ppjvj"


@pytest.mark.parametrize(("score", "verdict"), [(0.59, "review"), (0.6, "reject"), (0.61, "reject")])
def test_below_min_score_is_review(score: float, verdict: str) -> None:
    decider = make_decider(DecideSettings(per="frame", min_score=0.6), "ok")
    ruling = decide(decider, seen("scratch", score))
    assert ruling is not None
    assert ruling.verdict == verdict
    assert ruling.reason == ("score 0.59 of scratch is below min_score 0.6" if verdict == "review" else "")


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    decider = make_decider(DecideSettings(per="frame", thresholds={"scratch": 0.8}), "ok")
    rulings = [decide(decider, seen(label, 0.7)) for label in ("scratch", "stain")]
    assert [ruling and ruling.verdict for ruling in rulings] == ["review", "reject"]
    assert rulings[0] is not None
    assert rulings[0].reason == "score 0.70 of scratch is below thresholds.scratch 0.8"


def test_no_part_in_view_is_never_a_pass_or_a_reject() -> None:
    decider = make_decider(DecideSettings(per="trigger"), "ok", absent_label="stain")
    ruling = decide(decider, seen("stain"))
    assert ruling is not None
    assert (ruling.verdict, ruling.reason) == ("review", "no part is in view")


@pytest.mark.parametrize(
    ("sequence", "answers"),
    [
        ("oooooo", "..p..."),  # told once, when three of five agree
        ("ooosoooo", "..p....."),  # a single odd frame does not flip the line
        ("ooosss", "..p..j"),
        ("ooossto", "..p...."),  # two scratches and a stain are not three of one
        ("ooosssttt", "..p..j..j"),  # another defect is another state
        ("ooosssooo", "..p..j..p"),
        ("???ooo", "..v..p"),
        ("ososos", "....pj"),  # the frame at hand must be one of those that agree
    ],
)
def test_per_change(sequence: str, answers: str) -> None:
    decider = make_decider(DecideSettings(per="change", votes=Votes(of=5, need=3)), "ok")
    assert told(decider, sequence) == answers


def test_per_change_without_votes_tells_at_once() -> None:
    decider = make_decider(DecideSettings(per="change", votes=Votes(of=1, need=1)), "ok")
    assert told(decider, "oossot") == "p.j.pj"


def test_classification_knows_its_best_labels() -> None:
    classification = Classification(LABELS, (0.2, 0.5, 0.3))
    assert (classification.label, classification.score) == ("scratch", 0.5)
    assert classification.top(2) == [("scratch", 0.5), ("stain", 0.3)]
