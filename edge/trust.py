"""Whether what the camera shows can be trusted: frozen, black, overexposed, out of focus, moved, covered?

    every frame --a grid of pixels--> the same as before? ---------------------------.
    every 0.5 s --the same grid--> black, overexposed; `edge/structure.py`: focus, moved, covered --> held for 1 s?

A cause is declared when it has held for a second and cleared when it has been gone for a second, so that the state of a
line does not flap; docs/blind.md says how the thresholds were found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from edge.frame import Image
from edge.reference import Reference
from edge.structure import Structure

Cause = Literal["frozen", "black", "overexposed", "focus", "moved", "covered"]
WhileBlind = Literal["review", "withhold"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

HOLD_NS = 1_000_000_000
LOOKS = 3
"""Looks in which a cause must have been seen, or not to be seen any more, besides the second."""
EVERY_NS = 490_000_000
"""Between two looks at the whole picture."""
GRID = 48
"""Samples along the longer side of the picture."""
SAME = 0.001
"""Share of the samples that may differ in a frozen picture: a clock that is written into it."""
SAME_FRAMES = 4
"""Frames in a row that must be the same: of a slow source two may be so by chance."""
BRIGHTEST = 98
"""Percentile of the samples that tells whether a picture is black."""
WHITE = 250
"""Grey level from which a sample tells nothing."""
MARGIN = 0.1
"""By so much of a threshold a figure must be better than it to clear what was declared."""


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """When a picture is not trusted; None: this is not judged.

    Attributes:
        frozen_s: seconds for which a live source may show the same picture.
        black: grey level that the brightest 2 % of the picture must reach, 0 to 255.
        overexposed: share of the picture that may be white, 0 to 1.
        focus: share of the usual steepness that edges must have, 0 to 1.
        moved: share of the longer side by which the picture may lie off the reference, 0 to 1.
        covered: share of the reference's edges that may be hidden, 0 to 1.
    """

    frozen_s: float | None = 1.5
    black: float | None = 24.0
    overexposed: float | None = 0.5
    focus: float | None = 0.35
    moved: float | None = 0.015
    covered: float | None = 0.12

    def threshold(self, cause: Cause) -> float | None:
        """Of one cause."""
        return self.frozen_s if cause == "frozen" else getattr(self, cause)


TRUST_ALL = TrustSettings(None, None, None, None, None, None)


class Doubt(NamedTuple):
    """Why a picture is not trusted.

    Attributes:
        cause: what it is.
        figure: as measured last.
        threshold: as configured.
        sentence: for people, with the figure that it had when it was declared.
    """

    cause: Cause
    figure: float
    threshold: float
    sentence: str


_SENTENCES: dict[Cause, Callable[[float, float], str]] = {
    "frozen": lambda is_, may: f"frozen: the camera shows the same picture for {is_:.1f} s, allowed are {may:g} s",
    "black": lambda is_, may: f"black: the brightest part of the picture has grey level {is_:.0f}, needed is {may:g}",
    "overexposed": lambda is_, may: f"overexposed: {is_:.0%} of the picture are white, allowed are {may:.0%}",
    "focus": lambda is_, may: f"out of focus: edges are {is_:.0%} as steep as usual, needed are {may:.0%}",
    "moved": lambda is_, may: (
        "moved: the reference picture is nowhere to be found in what the camera shows"
        if is_ >= 1
        else f"moved: the picture lies {is_:.1%} off the reference picture, allowed are {may:.1%}"
    ),
    "covered": lambda is_, may: f"covered: {is_:.0%} of the reference picture are hidden, allowed are {may:.0%}",
}
_TOO_LOW: tuple[Cause, ...] = ("black", "focus")
"""Their figures are bad below the threshold, those of the others above it."""


class _Held:
    """One cause: what was measured, and whether it holds. `hold_ns` is how long it must."""

    def __init__(self, cause: Cause, threshold: float, hold_ns: int, looks: int) -> None:
        self._cause = cause
        self._threshold = threshold
        self._hold_ns = hold_ns
        self._looks = looks
        self._since_ns = 0
        self._count = 0
        self.doubt: Doubt | None = None

    def is_bad(self, figure: float) -> bool:
        """Whether it is beyond the threshold, to which it must keep some distance once it was declared."""
        sign = 1 if self._cause in _TOO_LOW else -1
        return figure * sign < self._threshold * (sign + MARGIN if self.doubt else sign)

    def look(self, figure: float | None, now_ns: int) -> None:
        """None: nothing can be said now, everything stays as it is."""
        if figure is None:
            return
        declared = self.doubt is not None
        if self.is_bad(figure) == declared:  # as it was
            self._count = 0
            if self.doubt is not None:
                self.doubt = self.doubt._replace(figure=figure)
            return
        self._count += 1
        if self._count == 1:
            self._since_ns = now_ns
        hold_ns, looks = (HOLD_NS, LOOKS) if declared else (self._hold_ns, self._looks)
        if self._count >= looks and now_ns - self._since_ns >= hold_ns:
            self._count = 0
            sentence = _SENTENCES[self._cause](figure, self._threshold)
            self.doubt = None if declared else Doubt(self._cause, figure, self._threshold, sentence)


class Trust:
    """Judges the frames of one line. Used by one thread.

    Args:
        settings: the thresholds.
        live: whether frames come from a camera; of a file it means nothing that pictures are the same.
        reference: the picture taken at commissioning; without it `moved` and `covered` are not judged.
    """

    def __init__(self, settings: TrustSettings, *, live: bool, reference: Reference | None = None) -> None:
        self._held: dict[Cause, _Held] = {}
        for cause in CAUSES:
            threshold = settings.threshold(cause)
            if threshold is not None and (live or cause != "frozen"):
                # Its figure is a time already.
                hold = (0, 1) if cause == "frozen" else (HOLD_NS, LOOKS)
                self._held[cause] = _Held(cause, threshold, *hold)
        self._structure = Structure(reference) if self._held.keys() & {"focus", "moved", "covered"} else None
        self._sample = np.empty((0, 0, 3), np.uint8)
        self._same_since_ns = 0
        self._same_frames = 0
        self._looked_at_ns: int | None = None
        self.doubts: tuple[Doubt, ...] = ()
        """Why what is seen now is not trusted; empty when it is. May be read by any thread."""

    @property
    def why(self) -> str:
        """The same in words, which stay as they are while the causes do."""
        return "; ".join(doubt.sentence for doubt in self.doubts)

    def judge(self, image: Image, now_ns: int) -> tuple[Doubt, ...]:
        """Take note of the next frame, (height, width, 3) uint8, BGR, and return `doubts`. Takes some microseconds.

        Args:
            image: the whole frame.
            now_ns: its time; only differences matter.
        """
        step = max(1, max(image.shape[:2]) // GRID)
        sample = np.ascontiguousarray(image[step // 2 :: step, step // 2 :: step])
        if "frozen" in self._held:
            self._held["frozen"].look(self._frozen_for(sample, now_ns), now_ns)
        self._sample = sample
        return self._tell()

    def look(self, image: Image, now_ns: int) -> tuple[Doubt, ...]:
        """Look at the whole of the frame that was judged last, now and then; return `doubts`.

        That takes some milliseconds, twice a second: so it is done when the frame has been decided on.
        """
        if self._looked_at_ns is None or not 0 <= now_ns - self._looked_at_ns < EVERY_NS:
            self._looked_at_ns = now_ns
            self._look(image, self._sample, now_ns)
        return self._tell()

    def _tell(self) -> tuple[Doubt, ...]:
        self.doubts = tuple(held.doubt for held in self._held.values() if held.doubt is not None)
        return self.doubts

    def _frozen_for(self, sample: Image, now_ns: int) -> float:
        """Seconds."""
        before = self._sample
        if sample.shape != before.shape or np.count_nonzero(sample != before) > SAME * sample.size:
            self._same_since_ns, self._same_frames = now_ns, 0
        else:
            self._same_frames += 1
        return (now_ns - self._same_since_ns) / 1e9 if self._same_frames >= SAME_FRAMES else 0.0

    def _look(self, image: Image, sample: Image, now_ns: int) -> None:
        """At all but `frozen`. Of a picture that is black or white the rest cannot be said."""
        levels = np.sort(sample.max(axis=2), axis=None)
        figures: dict[Cause, float | None] = {
            "black": float(levels[len(levels) * BRIGHTEST // 100]),
            "overexposed": float(1 - np.searchsorted(levels, WHITE) / len(levels)),
        }
        if self._structure is not None and not self._any_bad(figures):
            found = self._structure.measure(image)
            figures["focus"] = found.focus
            figures["moved"] = found.moved
            # Edges that are blurred or elsewhere are not hidden, and where the reference is not found nothing is known.
            if found.moved is not None and not self._any_bad(figures):
                figures["covered"] = found.covered
        for cause, held in self._held.items():
            if cause != "frozen":
                held.look(figures.get(cause), now_ns)

    def _any_bad(self, figures: dict[Cause, float | None]) -> bool:
        return any(
            figure is not None and cause in self._held and self._held[cause].is_bad(figure)
            for cause, figure in figures.items()
        )
