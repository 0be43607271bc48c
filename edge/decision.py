"""From classifications to decisions: what the line is told, and when.

A decider is asked once per frame and answers with a verdict when there is something to tell:

    per: frame    every frame gives a decision
    per: change   a decision when the state of the line changes; `votes` frames out of the last few must agree first,
                  so that a single odd frame does not flip the line
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal, Protocol

from edge.classification import Classification

Verdict = Literal["pass", "reject", "review"]


@dataclass(frozen=True, slots=True)
class Votes:
    """`need` of the last `of` frames must say the same."""

    of: int = 5
    need: int = 3


@dataclass(frozen=True, slots=True)
class DecideSettings:
    """How decisions are made.

    Attributes:
        per: when there is a decision.
        min_score: below this score of the best label the verdict is `review`, 0 to 1.
        votes: for `change`.
    """

    per: Literal["frame", "change"] = "change"
    min_score: float = 0.6
    votes: Votes = Votes()


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that one frame took: `total` runs from the moment it was captured to the decision."""

    preprocess: float
    infer: float
    total: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What the line is told about what passed, and the frame that is its evidence."""

    line: str
    verdict: Verdict
    classification: Classification
    decided_at_ns: int
    seq: int
    captured_at_ns: int
    width: int
    height: int
    file: str | None
    latency: Latency


class Decider(Protocol):
    """Turns a stream of classifications into verdicts. Called by one thread."""

    def decide(self, classification: Classification) -> Verdict | None:
        """The verdict on what was just seen, or None when there is nothing new to tell."""


def verdict_of(classification: Classification, pass_label: str, min_score: float) -> Verdict:
    """`review` when the best score is below `min_score`, else whether the best label is the pass label."""
    if classification.score < min_score:
        return "review"
    return "pass" if classification.label == pass_label else "reject"


class PerFrame:
    """Every frame gives a decision."""

    def __init__(self, settings: DecideSettings, pass_label: str) -> None:
        self._min_score = settings.min_score
        self._pass_label = pass_label

    def decide(self, classification: Classification) -> Verdict:
        return verdict_of(classification, self._pass_label, self._min_score)


class PerChange:
    """A decision when the state (verdict and label) of the line changes.

    A new state is taken over once it has `votes.need` of the last `votes.of` frames and the frame at hand is one of
    them, so that the evidence shows what is told. All reviews are one state: which label came out narrowly ahead in
    an unclear picture says nothing.
    """

    def __init__(self, settings: DecideSettings, pass_label: str) -> None:
        self._per_frame = PerFrame(settings, pass_label)
        self._need = settings.votes.need
        self._recent: deque[tuple[Verdict, str]] = deque(maxlen=settings.votes.of)
        self._told: tuple[Verdict, str] | None = None

    def decide(self, classification: Classification) -> Verdict | None:
        verdict = self._per_frame.decide(classification)
        state = (verdict, "" if verdict == "review" else classification.label)
        self._recent.append(state)
        if state == self._told or Counter(self._recent)[state] < self._need:
            return None
        self._told = state
        return verdict


def make_decider(settings: DecideSettings, pass_label: str) -> Decider:
    """The decider that `settings.per` asks for."""
    kinds: dict[str, type[PerFrame | PerChange]] = {"frame": PerFrame, "change": PerChange}
    return kinds[settings.per](settings, pass_label)
