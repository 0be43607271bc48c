"""`per: part`: one decision for every part that passes.

    comes into view -> seen whole: every such frame votes -> begins to leave -> ruling, once

Where several parts are in view, one of them is looked at in each frame, the one with the fewest votes, and the model
sees the empty background in place of its neighbours. docs/parts.md describes what happens to parts that touch, stop,
go back or are seen only in part.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.classification import Classification
from edge.decision import WHOLE_VIEW, DecideSettings, Evidence, Judge, Ruling, Seen, Subject
from edge.frame import Image
from edge.presence import Background
from edge.stills import Still, Stills
from edge.tracks import Track, Tracker, is_solid

CLEAR_TRAVEL = 0.15
"""The travel is along the axis on which parts have moved by this share of the view, and 3 times as far."""
PRESENT, ABSENT = 0.4, 0.6
"""Score of the absent label below which a part has come, and above which it has gone."""
ABSENT_FRAMES = 2
"""So many frames in a row must say so: a single odd frame does not make two parts of one."""
VOTES_KEPT = 1000
"""Frames of a part that stands; the oldest give way."""
UNSEEN = "the part was never in view as a whole"


@dataclass(slots=True)
class Votes:
    """What was seen of one part. Frames that show all of it count; the others only when there are none such."""

    first_at_ns: int = 0
    last_at_ns: int = 0
    whole: deque[Evidence] = field(default_factory=lambda: deque(maxlen=VOTES_KEPT))
    partly: deque[Evidence] = field(default_factory=lambda: deque(maxlen=VOTES_KEPT))
    stills: dict[str, Still] = field(default_factory=dict)
    """Of each label the frame that shows it best, clear passes left out."""


class VoteCount:
    """From the votes of one part to its ruling.

    Args:
        settings: how many must agree.
        judge: of a single frame.
        stills: for pictures of what is rejected or in doubt; None when nobody wants them.
    """

    def __init__(self, settings: DecideSettings, judge: Judge, stills: Stills | None = None) -> None:
        self._settings = settings
        self._judge = judge
        self._stills = stills

    def add(self, votes: Votes, evidence: Evidence, *, whole: bool = True) -> None:
        """One more frame of the part; `whole`: it shows all of it."""
        if whole and not votes.whole:
            votes.stills.clear()  # frames that show a part of it do not count any more
        (votes.whole if whole else votes.partly).append(evidence)
        if self._stills is not None and (evidence.doubt or self._judge.on(evidence.classification)[0] != "pass"):
            label, score = evidence.classification.label, evidence.classification.score
            best = votes.stills.get(label)
            better = best is None or score > best.score
            if better and (still := self._stills.take(score, best)) is not None:
                votes.stills[label] = still

    def ruling(self, votes: Votes) -> Ruling:
        """The label that most frames show, if enough of them agree and the model is sure of it, else `review`."""
        ruling = self._ruling(votes)
        stills, votes.stills = votes.stills, {}
        if ruling.verdict == "pass" or not stills:
            return ruling
        seq = ruling.evidence.seq if ruling.evidence is not None else None
        return ruling._replace(still=max(stills.values(), key=lambda still: (still.seq == seq, still.score)))

    def _ruling(self, votes: Votes) -> Ruling:
        frames = votes.whole or votes.partly
        counted = Counter(evidence.classification.label for evidence in frames)
        seen = Seen(len(frames), dict(counted.most_common()), (votes.last_at_ns - votes.first_at_ns) / 1e6)
        if not frames:
            return Ruling("review", None, UNSEEN, seen)
        labels = frames[0].classification.labels
        mean = Classification(labels, tuple(np.mean([e.classification.scores for e in frames], axis=0).tolist()))
        winner = mean.best
        evidence = max(frames, key=lambda e: e.classification.scores[winner])
        verdict, reason = self._judge.on(mean)
        need, of = self._settings.votes.need, self._settings.votes.of
        doubt = next((e.doubt for e in frames if e.doubt), "")
        if doubt:
            verdict, reason = "review", doubt
        elif not votes.whole:
            verdict, reason = "review", UNSEEN
        elif len(frames) < need:
            frames_seen = "1 frame" if len(frames) == 1 else f"{len(frames)} frames"
            verdict, reason = "review", f"the part was seen in {frames_seen} and votes.need is {need}"
        elif counted[mean.label] * of < len(frames) * need:
            split = ", ".join(f"{label} {count}" for label, count in counted.most_common())
            verdict, reason = "review", f"the frames disagree: {split}"
        return Ruling(verdict, evidence, reason, seen)


class PerPart:
    """Follows parts by what stands out from the empty background."""

    def __init__(self, settings: DecideSettings, judge: Judge, stills: Stills | None = None) -> None:
        self._settings = settings
        self._count = VoteCount(settings, judge, stills)
        self._background = Background()
        self._trackers: list[Tracker] = []
        self._size = (0, 0)
        self._axis: int | None = None
        self._votes: dict[Track, Votes] = {}
        self._subject: Track | None = None
        self._now_ns = 0
        self._told_at_ns: int | None = None

    def look(self, region: Image, captured_at_ns: int) -> Subject | None:
        self._now_ns = captured_at_ns
        if self._axis is not None:
            self._background.thin_out(self._axis)
        foreground = self._background.subtract(region)
        size = self._background.size
        if size != self._size:
            self._size = size
            self._trackers = [Tracker(size[0]), Tracker(size[1])]
            self._axis = None
        # On one axis a bar across the belt, a pattern of it that moves, may look as long as a part.
        counts = self._axis is not None or is_solid(foreground)
        for axis, tracker in enumerate(self._trackers):
            if self._axis in (None, axis):
                tracker.update(foreground, axis, counts=counts)
        return self._choose()

    def take(self, evidence: Evidence) -> None:
        if self._subject is None:
            return
        self._count.add(self._votes[self._subject], evidence, whole=self._tracker.is_whole(self._subject))

    def rulings(self) -> Sequence[Ruling]:
        tracker = self._tracker
        due = [t for t in tracker.left if not t.told]
        due += [t for t in tracker.tracks if not t.told and (tracker.is_leaving(t) or self._stays(t))]
        self._forget_ghosts()
        return self._tell(due)

    def finish(self) -> Sequence[Ruling]:
        """What is still in view is decided if it was seen whole; of what is cut off nothing is known."""
        if not self._trackers:
            return ()
        return self._tell([t for t in self._tracker.tracks if not t.told and t.whole_frames])

    @property
    def _tracker(self) -> Tracker:
        if self._axis is None:
            moved = [tracker.travelled / size for tracker, size in zip(self._trackers, self._size, strict=True)]
            best = int(moved[1] > moved[0])
            if moved[best] > CLEAR_TRAVEL and moved[best] > 3 * moved[1 - best]:
                self._axis = best
            return self._trackers[best]
        return self._trackers[self._axis]

    def _choose(self) -> Subject | None:
        """The part that needs a vote most: of those in view from end to end the one with the fewest."""
        tracker = self._tracker
        for track in tracker.tracks:
            if track not in self._votes:
                self._votes[track] = Votes(first_at_ns=self._now_ns)
                track.told = track.told or cools_down(self._told_at_ns, self._now_ns, self._settings)
            if not track.missed:
                self._votes[track].last_at_ns = self._now_ns
        self._votes = {t: v for t, v in self._votes.items() if t in tracker.tracks or t in tracker.left}
        wanted = [t for t in tracker.tracks if not t.told and not t.missed and tracker.visible(t) > 0]
        whole = [t for t in wanted if tracker.is_whole(t)]
        size = self._size[self._trackers.index(tracker)]
        self._subject = min(whole, key=lambda t: len(self._votes[t].whole), default=None)
        if self._subject is None:  # of a part that is never seen whole this must do
            partly = [t for t in wanted if not t.whole_frames]
            self._subject = max(partly, key=tracker.visible, default=None)
        return self._view_of(self._subject, size) if self._subject else None

    def _view_of(self, subject: Track, size: int) -> Subject:
        """From the middle of the gap before the part to the middle of the gap behind it."""
        axis = self._trackers.index(self._tracker)
        visible = [t for t in self._tracker.tracks if self._tracker.visible(t) > 0]
        before = [t.high for t in visible if t is not subject and t.high + t.low < subject.high + subject.low]
        behind = [t.low for t in visible if t is not subject and t.high + t.low >= subject.high + subject.low]
        start = (max(before) + subject.low) / 2 if before else 0.0
        stop = (min(behind) + subject.high) / 2 if behind else float(size)
        if not before and not behind:
            return Subject(axis=axis)
        return Subject(max(0.0, start / size), min(1.0, stop / size), axis, self._background.picture)

    def _forget_ghosts(self) -> None:
        """On a belt nothing appears in mid-view and stays: the background was learnt with a part in it."""
        tracker = self._tracker
        for track in tracker.tracks:
            if tracker.travel and track.entered is None and not track.missed and self._stays(track):
                self._background.absorb(track.low, track.high, self._trackers.index(tracker))

    def _stays(self, track: Track) -> bool:
        return self._now_ns - self._votes[track].first_at_ns > self._settings.dwell.max_s * 1e9

    def _tell(self, tracks: Sequence[Track]) -> list[Ruling]:
        rulings = []
        for track in tracks:
            track.told = True
            if track.frames >= self._settings.dwell.min_frames:
                self._told_at_ns = self._now_ns
                rulings.append(self._count.ruling(self._votes[track]))
        return rulings


class PerPartByLabel:
    """A part is in view while the model does not say that there is none: the label `absent_label` of the bundle."""

    def __init__(self, settings: DecideSettings, judge: Judge, stills: Stills | None = None) -> None:
        self._settings = settings
        self._count = VoteCount(settings, judge, stills)
        self._absent = judge.absent_label
        self._votes: Votes | None = None
        self._told = False
        self._gone = 0
        self._now_ns = 0
        self._told_at_ns: int | None = None

    def look(self, _region: Image, captured_at_ns: int) -> Subject:
        self._now_ns = captured_at_ns
        return WHOLE_VIEW

    def take(self, evidence: Evidence) -> None:
        classification = evidence.classification
        absent = classification.scores[classification.labels.index(str(self._absent))]
        if absent < PRESENT or (self._votes is not None and absent <= ABSENT):
            self._gone = 0
            self._votes = self._votes or Votes(self._now_ns)
            self._votes.last_at_ns = self._now_ns
            if classification.label != self._absent:
                self._count.add(self._votes, evidence)
        else:
            self._gone += 1

    def rulings(self) -> Sequence[Ruling]:
        if self._votes is None:
            return ()
        over = self._gone >= ABSENT_FRAMES
        stays = self._now_ns - self._votes.first_at_ns > self._settings.dwell.max_s * 1e9
        rulings = self.finish() if over or stays else ()
        if over:
            self._votes, self._told = None, False
        return rulings

    def finish(self) -> Sequence[Ruling]:
        votes = self._votes
        if votes is None or self._told or len(votes.whole) < self._settings.dwell.min_frames:
            return ()
        self._told = True
        if cools_down(self._told_at_ns, votes.first_at_ns, self._settings):
            return ()
        self._told_at_ns = self._now_ns
        return [self._count.ruling(votes)]


def cools_down(told_at_ns: int | None, seen_at_ns: int, settings: DecideSettings) -> bool:
    """Whether what came into view then came too soon after the last decision to be a new part."""
    return told_at_ns is not None and seen_at_ns - told_at_ns < settings.cooldown_s * 1e9
