"""From classifications to decisions: what the line is told, and when.

A decider sees every frame twice: before the model does, to say what of it should be looked at, and after, to collect
what the model said. Whenever there is something to tell it has a ruling:

    per: frame    every frame gives one
    per: change   one when the state of the line changes; `votes` frames out of the last few must agree first,
                  so that a single odd frame does not flip the line
    per: part     one for every part that passes (`edge/parts.py`)
    per: trigger  one for every trigger; the frame after it is inspected as with `per: frame` (`edge/trigger.py`)
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from edge.area import Area
from edge.classification import Classification, Region
from edge.frame import Image
from edge.stills import Still

Verdict = Literal["pass", "reject", "review"]
Per = Literal["part", "change", "frame", "trigger"]
PresenceBy = Literal["auto", "background", "label"]


@dataclass(frozen=True, slots=True)
class Votes:
    """`need` of `of` frames must say the same."""

    of: int = 5
    need: int = 3


@dataclass(frozen=True, slots=True)
class Dwell:
    """How long a part is in view.

    Attributes:
        min_frames: what is seen in fewer frames is no part.
        max_s: a part that stays longer is decided while it is still there; seconds.
    """

    min_frames: int = 3
    max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class DecideSettings:
    """How decisions are made.

    Attributes:
        per: when there is a decision.
        min_score: below this score of the best label the verdict is `review`, 0 to 1.
        thresholds: the same for single labels, in place of `min_score`.
        votes: for `change` and `part`.
        presence: for `part`: how it is known that a part is in view.
        dwell: for `part`.
        cooldown_s: for `part`: what appears sooner than this after a decision is no new part; seconds.
        timeout_s: for `trigger`: the reply comes after so many seconds at the latest.
        min_area: of a model that draws masks: smaller regions are passed over; in place of what the bundle says.
    """

    per: Per = "part"
    min_score: float = 0.6
    thresholds: Mapping[str, float] = field(default_factory=dict)
    votes: Votes = Votes()
    presence: PresenceBy = "auto"
    dwell: Dwell = Dwell()
    cooldown_s: float = 0.0
    timeout_s: float = 1.0
    min_area: Mapping[str, Area] = field(default_factory=dict)


class Evidence(NamedTuple):
    """One frame that was looked at, and what the model said; milliseconds.

    Attributes:
        doubt: why the frame is not trusted.
        regions: the largest ones, the largest first; None when the model draws no masks.
    """

    classification: Classification
    seq: int
    captured_at_ns: int
    width: int
    height: int
    file: str | None
    preprocess_ms: float
    infer_ms: float
    doubt: str = ""
    regions: tuple[Region, ...] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How a part was seen: frames that voted, votes per label, and for how long it was in view."""

    frames: int
    votes: Mapping[str, int]
    dwell_ms: float


class Ruling(NamedTuple):
    """What a decider has to tell.

    Attributes:
        verdict: what the line is told.
        evidence: the frame that shows it best, None when there is none.
        reason: one sentence where there is something to explain, as for every `review`.
        seen: for parts.
        still: of a reject or a review, a picture of that frame, or another one of the same part where there is none
            of it; None when none is kept.
    """

    verdict: Verdict
    evidence: Evidence | None
    reason: str = ""
    seen: Seen | None = None
    still: Still | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """Somebody asked for a decision.

    Attributes:
        received_at_ns: UTC, nanoseconds.
        id: what the asker calls it, if anything.
        reply_topic: where the answer goes; None: where decisions go.
        correlation: to be sent back as it came (MQTT 5).
    """

    received_at_ns: int
    id: str | None = None
    reply_topic: str | None = None
    correlation: bytes | None = None


class Decision(NamedTuple):
    """A ruling with its line and its time: `total_ms` runs from the capture of the frame at hand to the decision."""

    line: str
    ruling: Ruling
    decided_at_ns: int
    total_ms: float | None
    trigger: Trigger | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What of the region of interest is to be looked at.

    Attributes:
        start: where it begins along `axis`, as a share of the region, 0 to 1.
        stop: where it ends.
        axis: 0 along x, 1 along y.
        background: (height, width, 3) uint8, BGR, of any size: what to put in place of the rest.
    """

    start: float = 0.0
    stop: float = 1.0
    axis: int = 0
    background: Image | None = None


WHOLE_VIEW = Subject()


class Decider(Protocol):
    """Turns a stream of frames into rulings. Called by one thread."""

    def look(self, region: Image, captured_at_ns: int) -> Subject | None:
        """What of this region of interest ((height, width, 3) uint8, BGR) the model should see; None: nothing."""

    def take(self, evidence: Evidence) -> None:
        """What the model said about it."""

    def rulings(self) -> Sequence[Ruling]:
        """What there is to tell after this frame."""

    def finish(self) -> Sequence[Ruling]:
        """What there is to tell when no frame follows."""


@dataclass(frozen=True, slots=True)
class Judge:
    """From the scores of one frame to a verdict.

    Args:
        pass_label: the label of a good part.
        absent_label: what the model says when there is no part, if it knows such a label.
        min_score: below this score of the best label the verdict is `review`.
        thresholds: the same for single labels.
    """

    pass_label: str
    absent_label: str | None
    min_score: float
    thresholds: Mapping[str, float]

    def on(self, classification: Classification) -> tuple[Verdict, str]:
        """The verdict, and the reason for a `review`."""
        labels, scores = classification  # at once: after an inference each look-up of a name waits for memory
        score = max(scores)
        label = labels[scores.index(score)]
        if label == self.absent_label:
            return "review", "no part is in view"
        threshold = self.thresholds.get(label, self.min_score)
        if score < threshold:
            name = f"thresholds.{label}" if label in self.thresholds else "min_score"
            return "review", f"score {score:.2f} of {label} is below {name} {threshold:g}"
        return ("pass" if label == self.pass_label else "reject"), ""


class PerFrame:
    """Every frame gives a ruling."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._rulings: list[Ruling] = []

    def look(self, _region: Image, _captured_at_ns: int) -> Subject:
        return WHOLE_VIEW

    def take(self, evidence: Evidence) -> None:
        verdict, reason = self._judge.on(evidence.classification)
        if evidence.doubt:
            verdict, reason = "review", evidence.doubt
        self._rulings.append(Ruling(verdict, evidence, reason))

    def rulings(self) -> Sequence[Ruling]:
        rulings, self._rulings = self._rulings, []
        return rulings

    def finish(self) -> Sequence[Ruling]:
        return ()


class PerChange:
    """A ruling when the state (verdict and label) of the line changes.

    A new state is taken over once it has `votes.need` of the last `votes.of` frames and the frame at hand is one of
    them, so that the evidence shows what is told. All reviews are one state: which label came out narrowly ahead in
    an unclear picture says nothing.
    """

    def __init__(self, judge: Judge, votes: Votes) -> None:
        self._per_frame = PerFrame(judge)
        self._need = votes.need
        self._recent: deque[tuple[Verdict, str]] = deque(maxlen=votes.of)
        self._told: tuple[Verdict, str] | None = None

    def look(self, region: Image, captured_at_ns: int) -> Subject:
        return self._per_frame.look(region, captured_at_ns)

    def take(self, evidence: Evidence) -> None:
        self._per_frame.take(evidence)

    def rulings(self) -> Sequence[Ruling]:
        return [ruling for ruling in self._per_frame.rulings() if self._is_news(ruling)]

    def finish(self) -> Sequence[Ruling]:
        return ()

    def _is_news(self, ruling: Ruling) -> bool:
        label = ruling.evidence.classification.label if ruling.evidence and ruling.verdict != "review" else ""
        state = (ruling.verdict, label)
        self._recent.append(state)
        if state == self._told or Counter(self._recent)[state] < self._need:
            return False
        self._told = state
        return True
