"""Which frames are copied for those who want to see a reject, and where the copies lie."""

import numpy as np
import pytest
from belt import Belt, passing, picture

from edge.classification import Classification
from edge.deciders import make_decider
from edge.decision import DecideSettings, Evidence, Judge, Ruling
from edge.frame import Frame, Image
from edge.parts import VoteCount, Votes
from edge.stills import LEAST, MOST, About, Still, Stills

LABELS = ("ok", "scratch", "stain")


def frame(seq: int, width: int = 8) -> Frame:
    return Frame("line1", seq, np.full((6, width, 3), seq, np.uint8), seq * 1000)


def classification(label: str, score: float) -> Classification:
    rest = (1 - score) / 2
    return Classification(LABELS, tuple(score if name == label else rest for name in LABELS))


def made() -> Stills:
    return Stills(About(LABELS), lambda: True)


def seen(*frames: tuple[str, float], stills: Stills | None, whole: bool = True) -> Ruling:
    """The ruling on a part that these frames show."""
    settings = DecideSettings()
    count, votes = VoteCount(settings, Judge("ok", None, 0.6, {}), stills), Votes()
    for seq, (label, score) in enumerate(frames):
        if stills is not None:
            stills.frame = frame(seq)
        count.add(votes, Evidence(classification(label, score), seq, seq * 1000, 8, 6, None, 0, 0), whole=whole)
    return count.ruling(votes)


def shows(still: Still | None) -> int:
    assert still is not None
    assert (still.image == still.seq).all()
    return still.seq


def test_a_reject_has_the_frame_that_shows_it_best() -> None:
    stills = made()
    ruling = seen(("scratch", 0.7), ("scratch", 0.9), ("scratch", 0.8), ("stain", 0.61), stills=stills)
    assert ruling.verdict == "reject"
    assert ruling.evidence is not None
    assert shows(ruling.still) == ruling.evidence.seq == 1


def test_of_good_parts_nothing_is_copied() -> None:
    stills = made()
    ruling = seen(("ok", 0.9), ("ok", 0.99), ("ok", 0.7), stills=stills)
    assert (ruling.verdict, ruling.still) == ("pass", None)
    assert stills._made == 0


def test_a_pass_with_an_odd_frame_gives_its_buffer_back() -> None:
    stills = made()
    ruling = seen(("ok", 0.9), ("scratch", 0.7), *[("ok", 0.9)] * 9, stills=stills)
    assert (ruling.verdict, ruling.still) == ("pass", None)
    assert len(stills._free) == stills._made == 1


def test_a_review_has_the_most_telling_frame() -> None:
    ruling = seen(("ok", 0.99), ("scratch", 0.8), ("ok", 0.99), ("stain", 0.9), ("scratch", 0.85), stills=made())
    assert ruling.verdict == "review"
    assert shows(ruling.still) == 3


def test_frames_that_show_only_a_part_of_it_give_way() -> None:
    settings = DecideSettings()
    stills = made()
    count, votes = VoteCount(settings, Judge("ok", None, 0.6, {}), stills), Votes()
    for seq, (score, whole) in enumerate([(0.99, False), (0.8, True), (0.7, True), (0.7, True)]):
        stills.frame = frame(seq)
        evidence = Evidence(classification("scratch", score), seq, seq, 8, 6, None, 0, 0)
        count.add(votes, evidence, whole=whole)
    assert shows(count.ruling(votes).still) == 1


def test_nobody_who_wants_them_nothing_kept() -> None:
    assert seen(*[("scratch", 0.9)] * 5, stills=None).still is None
    unwanted = Stills(About(LABELS), lambda: False)
    assert seen(*[("scratch", 0.9)] * 5, stills=unwanted).still is None
    assert unwanted._made == 0


def test_buffers_are_bounded_and_used_again() -> None:
    stills = made()
    stills.frame = frame(1)
    held = [stills.take() for _ in range(MOST + 2)]
    assert [still is None for still in held] == [False] * MOST + [True, True]
    places = {still.image.ctypes.data for still in held if still is not None}
    held.clear()
    again = [stills.take() for _ in range(MOST)]
    assert {still.image.ctypes.data for still in again if still is not None} == places


def test_of_large_pictures_there_are_fewer() -> None:
    stills = made()
    stills.frame = Frame("line1", 1, np.zeros((3000, 4000, 3), np.uint8), 1)
    assert stills.take() is not None  # let go of at once
    held = [stills.take() for _ in range(MOST)]
    assert sum(still is not None for still in held) == LEAST == 2 or sum(still is not None for still in held) < MOST


def test_another_camera_has_other_buffers() -> None:
    stills = made()
    stills.frame = frame(1)
    old = stills.take()
    stills.frame = frame(2, width=16)
    new = stills.take()
    assert old is not None
    assert new is not None
    assert new.image.shape == (6, 16, 3)
    del old  # its buffer must not come back among those of the new size
    stills.frame = frame(3, width=16)
    other = stills.take()
    assert other is not None
    assert other.image.shape == (6, 16, 3)


@pytest.mark.parametrize("says", ["ok", "scratch"])
def test_parts_on_a_belt(says: str) -> None:
    stills = made()
    decider = make_decider(DecideSettings(), "ok", None, stills)
    belt = Belt(decider, classification(says, 0.9))
    shown: list[Image] = []
    show = belt.show

    def show_and_note(image: Image, times: int = 1) -> list[Ruling]:
        stills.frame = Frame("line1", belt.seq, image, belt.seq)
        shown.append(image)
        return show(image, times)

    belt.show = show_and_note  # type: ignore[method-assign]  # put in its place
    rulings = belt.run(passing()) + belt.run(passing()) + belt.run(passing())
    assert len(rulings) == 3
    for ruling in rulings:
        if says == "ok":
            assert ruling.still is None
        else:
            assert ruling.still is not None
            assert ruling.evidence is not None
            assert ruling.still.seq == ruling.evidence.seq
            assert (ruling.still.image == shown[ruling.still.seq]).all()
    assert picture((0, 1)) is not None
