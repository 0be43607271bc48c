"""Which part is which: parts in view, followed from frame to frame along the direction of travel.

The foreground is looked at along one axis only: parts lie one after another on a belt, keep their order and move
together. What is known of a part is a stretch [low, high) of that axis, in pixels of the small picture; an end may
lie outside of the view.

    enters -> in view, cut off -> whole -> leaving -> left
      ^            |                         |
      +-- parked --+ (the belt went back)    +-- may come back a little: still the same part
"""

from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge.presence import Foreground, Plane

Side = Literal["low", "high"]
Stretch = tuple[int, int]

EDGE = 2
"""Pixels at the border of the view that a whole part leaves free."""
THIN = 0.05
"""Share of the view across the travel that must be covered for a place to count as occupied."""
SMALLEST = 0.1
"""Share of the view that something must take up along the travel to be a part."""
PATIENCE = 8
"""Frames for which a part may be missed in mid-view before it counts as gone."""
FORGOTTEN = 30
"""Frames after which something in a place where a part vanished in mid-view is another part: hands are not faster."""
SOLID = 0.07
"""Share of the view that something must take up along both axes to be a part while the travel is not known."""
MORE_THAN_ONE = 1.35
"""So many usual lengths of a part in one piece are two parts that touch."""
WAIST = 0.9
"""Where two parts touch, the foreground is weaker than this share of what it is on both sides."""
DEEP_WAIST = 0.6
"""The same while no usual length is known."""
CLEARLY = 0.001
"""By so much, as a share of what is in view, must a shift explain the picture better than no shift."""
REMEMBERED = 4
"""Parts out of view that would be known again if the belt brought them back."""


def is_solid(foreground: Foreground) -> bool:
    """Whether something extends both ways, as a part does and a bar across the belt does not."""
    return all(
        _longest(foreground.profile(axis)[0] > THIN) > SOLID * foreground.mask.shape[1 - axis] for axis in (0, 1)
    )


def _longest(occupied: npt.NDArray[np.bool_]) -> int:
    """The length of the longest piece."""
    gaps = np.concatenate(([-1], np.flatnonzero(~occupied), [len(occupied)]))
    return int((gaps[1:] - gaps[:-1]).max()) - 1


@dataclass(slots=True, eq=False)
class Track:
    """One part and where it is.

    Attributes:
        low: its end at the smaller coordinate.
        high: one past its end at the larger one.
        entered: the side of the view that it came in by, None when it appeared inside.
        frames: in how many frames that count it was seen.
        whole_frames: and in how many of them from end to end.
        missed: frames in a row in which it should have been in view and was not.
        told: its decision has been made.
        cut_low: it reached to the low border of the view when last seen, or beyond.
        cut_high: the same at the high border.
        lengths: as measured while it was whole and touched no other.
    """

    low: float
    high: float
    entered: Side | None
    frames: int = 0
    whole_frames: int = 0
    missed: int = 0
    told: bool = False
    cut_low: bool = False
    cut_high: bool = False
    lengths: list[float] = field(default_factory=list)

    @property
    def length(self) -> float:
        """Pixels, as far as is known by now."""
        return self.high - self.low

    def move(self, shift: float) -> None:
        """Take it along."""
        self.low += shift
        self.high += shift


class Tracker:
    """Follows parts along one axis of the view. Used by one thread.

    Args:
        size: pixels of the view along that axis.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.tracks: list[Track] = []
        """In view, or parked outside by the side that they came from; by ascending position."""
        self.left: list[Track] = []
        """What left with the last update."""
        self.travelled = 0.0
        """Pixels, forwards and backwards added up, since the start."""
        self._shift = 0.0
        self._before: Plane | None = None
        self._crossings = 0
        self._memory: list[Track] = []
        self._lengths: list[float] = []
        self.usual_length = 0.0
        """Median length of the parts seen one by one, 0 before the first."""
        self._reach = reach = size * 2 // 5
        shifts = np.arange(-reach, reach + 1)
        self._shifts = shifts.astype(np.float32)
        self._now_from, self._now_to = np.maximum(shifts, 0), size - np.maximum(-shifts, 0)
        self._then_from, self._then_to = np.maximum(-shifts, 0), size - np.maximum(shifts, 0)
        self._share = (size / (size - np.abs(shifts))).astype(np.float32)
        self._padded = np.zeros(size + 2 * reach, np.float32)
        self._energy = np.zeros(size + 1, np.float32)
        self._occupied = np.zeros(size + 2, bool)

    @property
    def travel(self) -> int:
        """+1 when parts travel towards larger coordinates, -1 the other way, 0 before one has crossed the view."""
        return (self._crossings > 0) - (self._crossings < 0)

    def visible(self, track: Track) -> float:
        """Pixels of it that are in view."""
        return max(0.0, min(track.high, self._size) - max(track.low, 0))

    def is_whole(self, track: Track) -> bool:
        """Whether it lies in view from end to end."""
        return track.low >= EDGE and track.high <= self._size - EDGE

    def is_leaving(self, track: Track) -> bool:
        """Whether it was in view from end to end and has begun to leave, and not by the side that it came from."""
        if not track.whole_frames or self.is_whole(track):
            return False
        side: Side = "low" if track.low < EDGE else "high"
        return side != self._way_in(track)

    def update(self, foreground: Foreground, axis: int, *, counts: bool = True) -> None:
        """Follow everything into the next frame, which `counts` as one that shows what is in it, or does not."""
        covered, strength = foreground.profile(axis)
        self._shift = self._measure_shift(np.where(covered > THIN, strength, 0))
        if self.tracks:
            self.travelled += abs(self._shift)
        for track in (*self.tracks, *self._memory):
            track.move(self._shift)
        for track in self._memory:
            track.missed += 1
        unseen = [track for track in self.tracks if self.visible(track) > 0]
        for stretch in self._stretches(covered):
            inside = [t for t in unseen if self._lies_in(t, stretch)] or [self._enter(stretch)]
            unseen = [track for track in unseen if track not in inside]
            self._fit(stretch, inside)
            self._split(stretch, inside, foreground, axis)
            self._count(stretch, inside, counts=counts)
        for track in unseen:
            track.missed += 1
        self.tracks.sort(key=lambda track: track.low + track.high)
        self._let_go()

    def _measure_shift(self, strength: Plane) -> float:
        """By how many pixels everything has moved: where the strengths of this frame and the last fit best.

        The mean square of the difference is weighed for all shifts at once. Of shifts that fit alike the one nearest
        to the last is taken: a belt does not jump.
        """
        before, self._before = self._before, strength
        then, now = self._energy, np.zeros_like(self._energy)
        np.cumsum(strength * strength, out=now[1:])
        self._energy = now
        if before is None or not then[-1]:
            return 0.0
        if not now[-1]:
            return self._shift  # the last of it has left at the speed that it had
        size, reach = self._size, self._reach
        self._padded[reach : reach + size] = strength
        products = np.correlate(self._padded, before, "valid")
        squares = now[self._now_to] - now[self._now_from] + then[self._then_to] - then[self._then_from]
        cost = (squares - 2 * products) * self._share / (now[-1] + then[-1])
        best = int((cost + 0.3 / size * np.abs(self._shifts - self._shift)).argmin())
        # What is alike all along (a bar across, a part that fills the view) fits anywhere: nothing is known to move.
        return float(self._shifts[best]) if cost[reach] - cost[best] > CLEARLY else 0.0

    def _stretches(self, covered: Plane) -> list[Stretch]:
        """Where something lies, by ascending position; what is too small to be a part is left out."""
        self._occupied[1:-1] = covered > THIN
        edges = np.flatnonzero(self._occupied[1:] != self._occupied[:-1]).tolist()
        pieces: list[Stretch] = list(zip(edges[::2], edges[1::2], strict=True))
        # A part that is known to be whole stays in one piece, even where a dark spot seems to cut it.
        for track in self.tracks:
            if track.lengths:
                within = [p for p in pieces if track.low - EDGE <= p[0] and p[1] <= track.high + EDGE]
                if len(within) > 1:
                    pieces = [p for p in pieces if p not in within]
                    pieces.append((within[0][0], within[-1][1]))
        smallest = max(SMALLEST * self._size, 0.3 * self.usual_length)
        return sorted(
            (start, stop)
            for start, stop in pieces
            if stop - start >= (EDGE + 1 if start == 0 or stop == self._size else smallest)
        )

    def _lies_in(self, track: Track, stretch: Stretch) -> bool:
        low, high = 0.0 if track.cut_low else track.low, self._size if track.cut_high else track.high
        overlap = min(high, stretch[1]) - max(low, stretch[0])
        return overlap > 0.5 * min(self.visible(track), stretch[1] - stretch[0])

    def _enter(self, stretch: Stretch) -> Track:
        """The part behind a stretch that no part in view explains: one that comes back, or a new one."""
        start, stop = stretch
        side: Side | None = "low" if start == 0 else "high" if stop == self._size else None
        if start == 0 and stop == self._size:
            side = "high" if self.travel < 0 else "low"
        back = self._that_comes_back(stretch, side)
        if back is not None:
            return back
        track = Track(float(start), float(stop), side)
        # Nothing new comes in by the way out.
        track.told = side is not None and self.travel != 0 and side != self._way_in(track)
        self.tracks.append(track)
        return track

    def _that_comes_back(self, stretch: Stretch, side: Side | None) -> Track | None:
        start, stop = stretch
        if side is None:
            for track in self._memory:
                if self._lies_in(track, stretch) and self.visible(track) > 0 and track.missed <= FORGOTTEN:
                    self._memory.remove(track)
                    self.tracks.append(track)
                    return track
            return None
        out = [t for t in (*self.tracks, *self._memory) if self.visible(t) <= EDGE and self._beyond(t, side)]
        parked = [t for t in out if not self._was_taken_out(t)]
        if not parked:
            return None
        track = max(parked, key=lambda t: t.high) if side == "low" else min(parked, key=lambda t: t.low)
        if track in self._memory:
            self._memory.remove(track)
            self.tracks.append(track)
        track.move(stop - track.high if side == "low" else start - track.low)
        return track

    def _fit(self, stretch: Stretch, inside: list[Track]) -> None:
        """Lay the parts where their stretch was seen. An end of it at the border of the view tells nothing."""
        start, stop = stretch
        inside.sort(key=lambda track: track.low)
        first, last = inside[0], inside[-1]
        if len(inside) > 1:  # parts that touch keep their lengths
            off = [start - first.low] * (start > 0) + [stop - last.high] * (stop < self._size)
            move = float(np.mean(off)) if off else 0.0
            for track in inside:
                track.move(move)
        elif start > 0 and stop < self._size:
            first.low, first.high = start, stop
        elif start > 0:
            first.low, first.high = start, max(start + first.length, stop)
        elif stop < self._size:
            first.low, first.high = min(stop - first.length, start), stop
        # What sticks out of the parts at the border of the view belongs to the outermost.
        for track in inside:
            track.cut_low, track.cut_high = track is first and start == 0, track is last and stop == self._size
        if first.cut_low:
            first.low = min(first.low, start)
        if last.cut_high:
            last.high = max(last.high, stop)

    def _split(self, stretch: Stretch, inside: list[Track], foreground: Foreground, axis: int) -> None:
        """What is too long for one part is two that touch: cut at the weakest place about where the first ends."""
        usual = self.usual_length
        for track in list(inside):
            start, stop = max(round(track.low), stretch[0]), min(round(track.high), stretch[1])
            while stop - start > MORE_THAN_ONE * usual if usual else self._may_be_two(start, stop, track):
                came_from_low = self._way_in(track) == "low"
                cut = self._waist(foreground.girth(axis), start, stop, usual, came_from_low=came_from_low)
                if cut is None:
                    break
                behind = Track(track.low, float(cut), "low") if came_from_low else Track(cut, track.high, "high")
                behind.cut_low, behind.cut_high = came_from_low and track.cut_low, track.cut_high and not came_from_low
                if came_from_low:
                    track.low, track.cut_low = float(cut), False
                else:
                    track.high, track.cut_high = float(cut), False
                self.tracks.append(behind)
                inside.append(behind)
                track = behind  # noqa: PLW2901  # what is left may hold a third one
                start, stop = max(round(track.low), stretch[0]), min(round(track.high), stretch[1])

    def _may_be_two(self, start: int, stop: int, track: Track) -> bool:
        """While no length is known: once it is all in view, and has not been found to be one part before."""
        long_enough = stop - start >= 2 * SMALLEST * self._size
        return long_enough and not track.lengths and start >= EDGE and stop <= self._size - EDGE

    def _waist(self, girth: Plane, start: int, stop: int, usual: float, *, came_from_low: bool) -> int | None:
        """Where in [start, stop) two parts touch, None when there is no such place."""
        if usual:
            middle = stop - usual if came_from_low else start + usual
            low, high = round(middle - 0.3 * usual), round(middle + 0.3 * usual)
        else:
            low, high = start + round(0.35 * (stop - start)), stop - round(0.35 * (stop - start))
        low, high = max(low, start + EDGE), min(high, stop - EDGE)
        if low >= high:
            return None
        cut = low + int(np.argmin(girth[low:high]))
        beside = min(float(girth[start:cut].max()), float(girth[cut:stop].max()))
        return cut if girth[cut] < (WAIST if usual else DEEP_WAIST) * beside else None

    def _count(self, stretch: Stretch, inside: list[Track], *, counts: bool) -> None:
        for track in inside:
            track.missed = 0
            track.frames += counts
            track.whole_frames += counts and self.is_whole(track)
        if counts and len(inside) == 1 and stretch[0] >= EDGE and stretch[1] <= self._size - EDGE:
            inside[0].lengths.append(stretch[1] - stretch[0])

    def _let_go(self) -> None:
        """Part with what has left, and learn from it how long parts are and which way they travel."""
        self.left = []
        for track in list(self.tracks):
            if track.missed > PATIENCE and (track.cut_low or track.cut_high):
                # Only a bit of it was in view, at a border: it has left.
                track.move(-track.high if track.cut_low else self._size - track.low)
                track.missed = 0
            out = self.visible(track) <= EDGE
            if out and not track.told and self._has_not_passed(track):
                if self.travel == 0 or self._beyond(track, self._way_in(track)):
                    continue  # parked
                track.told = True
            if out or track.missed > PATIENCE:
                self.tracks.remove(track)
                self.left.append(track)
                self._learn(track)
        self._memory = [*self._memory, *self.left][-REMEMBERED:]

    def _has_not_passed(self, track: Track) -> bool:
        """Whether it left by the side it came from, and has not had its turn: the belt may bring it again.

        While it is not known which way parts travel, one that was in view from end to end has had its turn: where
        parts are put in and taken out by hand, they come and go by the same side.
        """
        if track.whole_frames:
            return self.travel != 0 and self._beyond(track, self._way_in(track))
        return self._beyond(track, track.entered)

    def _was_taken_out(self, track: Track) -> bool:
        """Whether it has had its turn and left by the side that it came from, as `_has_not_passed` explains."""
        return self.travel == 0 and track.whole_frames > 0 and self._beyond(track, track.entered)

    def _learn(self, track: Track) -> None:
        if len(track.lengths) >= 3:
            self._lengths = [*self._lengths, median(track.lengths)][-31:]
            self.usual_length = median(self._lengths)
        if track.whole_frames and track.entered and not self._beyond(track, track.entered) and not track.missed:
            self._crossings += 1 if track.entered == "low" else -1

    def _way_in(self, track: Track) -> Side | None:
        if self.travel:
            return "low" if self.travel > 0 else "high"
        return track.entered

    def _beyond(self, track: Track, side: Side | None) -> bool:
        """Whether it lies outside of the view on that side, or nearly so."""
        return (side == "low" and track.high <= EDGE) or (side == "high" and track.low >= self._size - EDGE)
