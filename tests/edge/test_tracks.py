"""Drawn parts on a belt, followed from frame to frame: which is which, and when each has its decision."""

from collections.abc import Iterator
from itertools import chain, pairwise

import numpy as np
import pytest
from belt import BELT, HEIGHT, PART, WIDTH, Belt, passing, picture

from edge.deciders import make_decider
from edge.decision import DecideSettings, Dwell, Ruling
from edge.frame import Image
from edge.parts import UNSEEN, PerPart
from edge.presence import Foreground
from edge.tracks import SMALLEST, Tracker

Places = Iterator[tuple[int, int]]
LENGTH = 100


def part_line(**settings: object) -> Belt:
    return Belt(make_decider(DecideSettings(**settings), "ok"))  # type: ignore[arg-type]  # by name


def tracker_of(belt: Belt) -> Tracker:
    assert isinstance(belt.decider, PerPart)
    return belt.decider._tracker


def settled(**settings: object) -> Belt:
    """A line on which three parts have passed: it knows its direction and how long parts are."""
    belt = part_line(**settings)
    for _ in range(3):
        belt.run(passing(LENGTH))
    assert verdicts(belt.rulings) == ["pass"] * 3
    belt.rulings.clear()
    return belt


def verdicts(rulings: list[Ruling]) -> list[str]:
    return [ruling.verdict for ruling in rulings]


def at(low: int, length: int = LENGTH) -> tuple[int, int]:
    return low, low + length


def ride(*stops: int, step: int = 8, length: int = LENGTH) -> Places:
    """One part that goes from stop to stop, either way."""
    for here, there in pairwise(stops):
        yield from (at(low, length) for low in range(here, there, step if there > here else -step))


def turned(image: Image, direction: str) -> Image:
    """A picture of a belt that runs to the right, as if it ran the other way."""
    if direction == "left":
        return np.ascontiguousarray(image[:, ::-1])
    if direction in {"down", "up"}:
        image = image.transpose(1, 0, 2)
    return np.ascontiguousarray(image[::-1] if direction == "up" else image)


@pytest.mark.parametrize("direction", ["right", "left", "down", "up"])
def test_the_direction_of_travel_is_learnt(direction: str) -> None:
    belt = part_line()
    for low, high in chain(passing(), passing()):
        belt.show(turned(picture((low, high)), direction))
    assert verdicts(belt.rulings) == ["pass", "pass"]
    tracker = tracker_of(belt)
    assert tracker.travel == (1 if direction in {"right", "down"} else -1)
    assert isinstance(belt.decider, PerPart)
    assert belt.decider._axis == (0 if direction in {"right", "left"} else 1)
    assert tracker.usual_length == pytest.approx(LENGTH, abs=3)


def test_a_part_is_decided_as_soon_as_it_begins_to_leave() -> None:
    belt = settled()
    belt.run(ride(-LENGTH - 20, WIDTH - LENGTH - 8))
    assert belt.rulings == []
    belt.run(ride(WIDTH - LENGTH - 8, WIDTH - LENGTH + 24))
    assert verdicts(belt.rulings) == ["pass"]


def test_a_part_that_goes_back_out_and_returns_is_the_same_one() -> None:
    belt = settled()
    belt.run(ride(-LENGTH - 10, -20, -LENGTH - 15, -10, -LENGTH - 8, WIDTH + 20))
    assert verdicts(belt.rulings) == ["pass"]


def test_a_part_that_comes_back_by_the_way_out_is_not_decided_again() -> None:
    belt = settled()
    belt.run(ride(-LENGTH - 10, WIDTH + 15, WIDTH - 60, WIDTH + 40))
    belt.run(passing())
    assert verdicts(belt.rulings) == ["pass", "pass"]


def test_a_part_that_stops_is_decided_once() -> None:
    belt = settled()
    belt.run(ride(-LENGTH - 20, 100))
    belt.show(picture(at(100)), 400)
    assert belt.rulings == []
    belt.run(ride(100, WIDTH + 20))
    assert verdicts(belt.rulings) == ["pass"]


def test_a_part_that_stays_too_long_is_decided_while_it_is_there() -> None:
    belt = settled(dwell=Dwell(max_s=5))
    belt.run(ride(-LENGTH - 20, 100))
    belt.show(picture(at(100)), 120)
    assert belt.rulings == []
    belt.show(picture(at(100)), 30)
    assert verdicts(belt.rulings) == ["pass"]
    belt.run(ride(100, WIDTH + 20))
    belt.run(passing())
    assert verdicts(belt.rulings) == ["pass", "pass"]


@pytest.mark.parametrize("together", [2, 3])
def test_parts_that_touch_are_told_apart_once_the_usual_length_is_known(together: int) -> None:
    belt = settled()
    for low, _ in passing(LENGTH * together):
        belt.show(notched(low, together))
    assert verdicts(belt.rulings) == ["pass"] * together


def notched(low: int, together: int, round_by: int = 8) -> Image:
    """Parts that touch, with corners that are a little rounded."""
    image = picture(*(at(low + n * LENGTH) for n in range(together)))
    for seam in range(low, low + together * LENGTH + 1, LENGTH):
        there = slice(max(seam - 4, 0), max(seam + 4, 0))
        image[: HEIGHT * 3 // 10 + round_by, there] = image[HEIGHT * 7 // 10 - round_by :, there] = BELT
    return image


@pytest.mark.parametrize(("share", "decisions"), [(0.5, 0), (1.6, 1)])
def test_what_is_smaller_than_the_smallest_part_is_none(share: float, decisions: int) -> None:
    belt = part_line()
    length = round(SMALLEST * WIDTH * share)
    belt.run(ride(-40, WIDTH + 20, step=4, length=length))
    assert len(belt.rulings) == decisions


def test_bars_across_the_belt_are_no_part_while_the_travel_is_not_known() -> None:
    """Along the other axis they look as long as a part."""
    belt = part_line()
    belt.show(picture(), 20)
    for shift in range(0, 160, 8):
        image = picture()
        for low in (10 + shift, 120 + shift):
            image[30 + shift // 8 % 2 : 210 + shift // 8 % 2, low : low + 10] = PART
        belt.show(image)
    belt.show(picture(), 20)
    assert belt.rulings == []
    belt.run(passing())
    assert verdicts(belt.rulings) == ["pass"]


def test_a_comb_is_not_cut_into_its_teeth() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[100:140, 100:200] = 255
    mask[40:200, 100:200:2] = 255
    tracker = Tracker(WIDTH)
    tracker.update(Foreground(mask, mask), 0)
    assert len(tracker.tracks) > 1
    assert all(track.length >= 0.7 * SMALLEST * WIDTH for track in tracker.tracks)


def test_a_part_that_is_longer_than_the_view_gets_one_review() -> None:
    belt = part_line()
    for _ in range(2):
        belt.run(passing(length=WIDTH + 150, step=10))
    assert verdicts(belt.rulings) == ["review", "review"]
    assert {ruling.reason for ruling in belt.rulings} == {UNSEEN}
    assert all(ruling.evidence is not None for ruling in belt.rulings)


def test_parts_that_are_put_in_and_taken_out_by_hand_are_each_one() -> None:
    belt = part_line()
    for _ in range(4):
        belt.run(ride(-LENGTH - 10, 110))
        belt.show(picture(at(110)), 20)
        belt.run(ride(110, -LENGTH - 10))
        belt.show(picture(), 20)
    assert verdicts(belt.rulings) == ["pass"] * 4


def test_parts_that_are_laid_down_and_picked_up_are_each_one() -> None:
    belt = part_line()
    for _ in range(4):
        belt.show(picture(), 45)
        belt.show(picture(at(110)), 45)
    belt.show(picture(), 20)
    assert verdicts(belt.rulings) == ["pass"] * 4


def test_a_dark_spot_that_hangs_before_the_camera_does_not_cut_a_part() -> None:
    belt = part_line()
    for low, high in chain(passing(), passing(), passing()):
        image = picture((low, high))
        image[:150, 150:162] = BELT
        belt.show(image)
    assert len(belt.rulings) == 3


def test_a_line_that_begins_with_a_part_in_view_decides_it() -> None:
    belt = part_line()
    belt.run(ride(60, WIDTH + 20))
    belt.run(passing())
    assert verdicts(belt.rulings) == ["pass", "pass"]


def test_a_line_that_ends_with_parts_in_view_decides_those_that_it_has_seen_whole() -> None:
    belt = settled()
    for low, _ in ride(-LENGTH - 150, 40):
        belt.show(picture(at(low), at(low - 150)))
    assert belt.rulings == []
    assert verdicts(list(belt.decider.finish())) == ["pass"]
    assert belt.decider.finish() == []


def test_nothing_is_told_at_the_end_when_nothing_was_seen() -> None:
    assert part_line().decider.finish() == ()


@pytest.mark.parametrize(("size", "decisions"), [((640, 480), 3), ((640, 300), 2)])
def test_a_frame_of_another_size_does_not_end_the_line(size: tuple[int, int], decisions: int) -> None:
    """A part that is in view meanwhile is kept when only the scale is another one."""
    belt = settled()
    belt.run(ride(-LENGTH - 20, 100))
    for _ in range(2):
        belt.run(passing(200, step=16, width=640), size=size)
    assert verdicts(belt.rulings) == ["pass"] * decisions


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(20, 20), (320, 1), (1, 240), (1, 1), (7, 3), (2000, 4)])
def test_no_region_of_interest_is_too_small(size: tuple[int, int]) -> None:
    belt = part_line()
    length = max(1, size[0] // 3)
    for _ in range(2):
        belt.run(passing(length, step=max(1, size[0] // 20), width=size[0]), size=size)
    belt.decider.finish()
    assert len(belt.rulings) <= 2


def test_a_small_region_of_interest_works() -> None:
    belt = part_line()
    for _ in range(3):
        belt.run(passing(8, step=1, gap=3, width=20), size=(20, 20))
    assert verdicts(belt.rulings) == ["pass"] * 3


@pytest.mark.parametrize(("frames", "decisions"), [(2, 0), (3, 1)])
def test_what_is_seen_in_too_few_frames_is_no_part(frames: int, decisions: int) -> None:
    belt = part_line(dwell=Dwell(min_frames=3))
    belt.show(picture(), 20)
    belt.show(picture(at(110)), frames)
    belt.show(picture(), 20)
    assert len(belt.rulings) == decisions


def test_what_comes_too_soon_after_a_decision_is_no_new_part() -> None:
    belt = part_line(cooldown_s=2.0)
    for _ in range(6):  # each takes 1.9 s, and comes into view 0.9 s after the one before was decided
        belt.run(passing())
    assert 2 <= len(belt.rulings) <= 3


def test_the_model_sees_one_part_at_a_time() -> None:
    belt = settled()
    first, second = at(190), at(40)
    for back in range(240, 0, -8):
        belt.show(picture(*((low - back, high - back) for low, high in (first, second))))
    subject = belt.decider.look(picture(first, second), belt.seq * 33_000_000)
    assert subject is not None
    assert subject.background is not None
    assert np.abs(subject.background.astype(int) - BELT).max() < 12
    shown = subject.start * WIDTH, subject.stop * WIDTH
    assert any(shown == pytest.approx(view, abs=4) for view in ((0, 165), (165, WIDTH)))


def test_a_part_that_was_learnt_as_background_is_forgotten() -> None:
    """It covers most of the first frame, and leaves; its place stays foreground until it is known to be none."""
    belt = part_line(dwell=Dwell(max_s=3))
    belt.show(wide_part(0))
    for low in range(8, 400, 8):
        belt.show(wide_part(low))
    for _ in range(6):
        belt.run(passing())
    assert [len(belt.run(passing())) for _ in range(3)] == [1, 1, 1]


def wide_part(low: int) -> Image:
    image = picture()
    image[20:220, min(40 + low, 319) : 280 + low] = PART
    return image
