"""Pictures that cannot be trusted: each cause is seen within 2 s, and what happens every day is none."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scenes import Scene, drawings, photographs

from edge.frame import Image
from edge.reference import Reference
from edge.trust import CAUSES, Cause, Trust, TrustSettings

SECOND = 1_000_000_000
STEP_S = 0.125
WITHIN_S = 2.0


def judge(trust: Trust, picture: Image, now_ns: int) -> set[Cause]:
    """As a line does; the causes."""
    trust.judge(picture, now_ns)
    return {doubt.cause for doubt in trust.look(picture, now_ns)}


class Film:
    """Shows pictures to `Trust`, 8 a second, and notes what it thinks of them."""

    def __init__(self, scene: Scene, reference: Reference | None, *, live: bool = True) -> None:
        self.scene = scene
        self.trust = Trust(TrustSettings(), live=live, reference=reference)
        self.now_s = 100.0
        self.last: Image | None = None

    def show(self, seconds: float, wrong: Cause | None = None) -> list[set[Cause]]:
        """The causes after each picture."""
        seen = []
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            if wrong != "frozen" or self.last is None:
                self.last = self.scene.picture(self.now_s, wrong)
            seen.append(judge(self.trust, self.last, int(self.now_s * SECOND)))
        return seen


def scene_of(kind: str, request: pytest.FixtureRequest) -> Scene:
    if kind == "photographs":
        return Scene(photographs(request.getfixturevalue("tiles"), 5), 5, (640, 360))
    return Scene(drawings(5), 5, (640, 360))


@pytest.mark.parametrize("kind", ["photographs", "drawings"])
@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_declared_within_two_seconds_and_cleared_again(
    cause: Cause, kind: str, request: pytest.FixtureRequest
) -> None:
    scene = scene_of(kind, request)
    film = Film(scene, scene.reference())
    assert set().union(*film.show(5)) == set()
    during = film.show(4, cause)
    assert during[round(WITHIN_S / STEP_S)] == {cause}, film.trust.why
    assert set().union(*during) == {cause}
    changes = sum(before != after for before, after in pairwise(during))
    assert changes == 1  # it does not flap
    (doubt,) = film.trust.doubts
    assert doubt.threshold == TrustSettings().threshold(cause)
    after = film.show(4)
    assert after[round(WITHIN_S / STEP_S)] == set(), film.trust.why
    assert after[-1] == set()


def test_without_a_reference_focus_is_held_against_the_first_pictures_and_the_rest_is_not_judged() -> None:
    scene = Scene(drawings(5), 5, (640, 360))
    film = Film(scene, None)
    assert set().union(*film.show(12)) == set()
    assert film.show(2, "focus")[-1] == {"focus"}
    film.show(3)
    assert set().union(*film.show(3, "moved"), *film.show(3, "covered")) == set()


@pytest.mark.parametrize("cause", CAUSES)
def test_what_is_off_is_not_judged(cause: Cause) -> None:
    scene = Scene(drawings(5), 5, (640, 360))
    film = Film(scene, scene.reference())
    off = {"frozen_s" if cause == "frozen" else cause: None}
    film.trust = Trust(TrustSettings(**off), live=True, reference=scene.reference())
    film.show(3)
    assert cause not in set().union(*film.show(4, cause))


def test_a_file_is_never_frozen() -> None:
    scene = Scene(drawings(5), 5, (640, 360))
    film = Film(scene, None, live=False)
    assert set().union(*film.show(5, "frozen")) == set()


def test_what_lasts_for_less_than_a_second_is_no_cause() -> None:
    scene = Scene(drawings(5), 5, (640, 360))
    film = Film(scene, scene.reference())
    film.show(2)
    for cause in CAUSES:
        assert set().union(*film.show(0.75, cause), *film.show(2)) == set(), cause


def test_a_camera_that_looks_elsewhere_after_a_minute_was_moved() -> None:
    """Nothing of the reference is left in what it shows, nor is it hidden."""
    scene, other = Scene(drawings(5), 5, (640, 360)), Scene(drawings(77), 77, (640, 360))
    film = Film(scene, scene.reference())
    judge(film.trust, scene.picture(0), 0)
    for number in range(160):
        judge(film.trust, scene.picture(0.4 * number), int(0.4 * number * SECOND))
    film.now_s, film.scene = 70.0, other
    film.scene._machine[:] = 60  # nor does it show anything that could be taken for it
    assert film.show(2)[-1] == {"moved"}


def test_a_reference_of_another_size_is_not_used() -> None:
    scene = Scene(drawings(5), 5, (640, 360))
    film = Film(scene, Scene(drawings(6), 6, (320, 180)).reference())
    assert set().union(*film.show(3), *film.show(3, "covered")) == set()


def ordinary(scene: Scene, seconds: float) -> Counter[Cause]:
    """The causes that were declared in so much of a working day, looked at 4 times a second."""
    trust = Trust(TrustSettings(), live=True, reference=scene.reference())
    found: Counter[Cause] = Counter()
    for number in range(int(seconds * 4)):
        found.update(judge(trust, scene.picture(number / 4), number * SECOND // 4))
    return found


@pytest.mark.parametrize("kind", ["photographs", "drawings"])
def test_a_minute_of_an_ordinary_day_are_trusted(kind: str, request: pytest.FixtureRequest) -> None:
    assert ordinary(scene_of(kind, request), 60) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_an_hour_of_an_ordinary_day_is_trusted(seed: int, tiles: Path) -> None:
    assert ordinary(Scene(photographs(tiles, seed), seed), 3600) == {}


def test_the_same_pictures_of_a_slow_camera_may_be_chance() -> None:
    trust = Trust(TrustSettings(), live=True)
    picture = np.full((120, 160, 3), 90, np.uint8)
    assert [trust.judge(picture, second * SECOND) for second in range(4)] == [()] * 4
    (doubt,) = trust.judge(picture, 4 * SECOND)
    assert (doubt.cause, doubt.figure) == ("frozen", 4.0)
