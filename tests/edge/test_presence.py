"""What stands out from the empty background, whatever the light does and whatever stands still."""

import numpy as np
import pytest
from belt import HEIGHT, WIDTH, picture

from edge.presence import COVERED_FRAMES, Background, Foreground


def covered(foreground: Foreground) -> float:
    return float((foreground.mask > 0).mean())


def learnt(*parts: tuple[int, int], frames: int = 40) -> Background:
    background = Background()
    for _ in range(frames):
        background.subtract(picture(*parts))
    return background


def test_an_empty_belt_has_no_foreground() -> None:
    background = Background()
    assert all(covered(background.subtract(picture())) == 0 for _ in range(10))


def test_a_part_is_found_where_it_is() -> None:
    share, strength = learnt().subtract(picture((100, 180))).profile(axis=0)
    there = np.flatnonzero(share > 0.05)
    assert abs(there[0] - 100) <= 2
    assert abs(there[-1] - 179) <= 2
    assert share[140] == pytest.approx(0.4, abs=0.03)
    assert strength[140] > 50 > strength[20]
    down, _ = learnt().subtract(picture((100, 180))).profile(axis=1)
    assert abs(np.flatnonzero(down > 0.05)[0] - HEIGHT * 3 // 10) <= 2


def test_girth_does_not_count_holes() -> None:
    image = picture((100, 180))
    holed = image.copy()
    holed[100:140, 130:150] = picture()[100:140, 130:150]
    whole, hollow = (learnt().subtract(shown).girth(axis=0) for shown in (image, holed))
    assert hollow[140] == pytest.approx(whole[140], rel=0.1)
    assert hollow[20] == 0


def test_a_part_that_stands_is_not_absorbed() -> None:
    background = learnt()
    before = covered(background.subtract(picture((100, 180))))
    for _ in range(600):
        last = background.subtract(picture((100, 180)))
    assert covered(last) == pytest.approx(before, rel=0.05)
    assert np.abs(background.picture.astype(int)[:, 120:160] - picture()[:, 120:160]).max() < 12


def test_what_has_left_leaves_nothing_behind() -> None:
    background = learnt((100, 180))
    assert covered(background.subtract(picture())) == 0


@pytest.mark.parametrize("part", [[], [(100, 180)]])
def test_light_that_drifts_is_no_foreground(part: list[tuple[int, int]]) -> None:
    background = learnt()
    wanted = covered(background.subtract(picture(*part)))
    for n in range(200):
        found = background.subtract(picture(*part, light=1 + 0.3 * np.sin(n / 15)))
        assert covered(found) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("light", [0.6, 0.85, 1.2, 1.4])
@pytest.mark.parametrize("part", [[], [(100, 180)]])
def test_light_that_steps_is_no_foreground(light: float, part: list[tuple[int, int]]) -> None:
    background = learnt()
    wanted = covered(background.subtract(picture(*part)))
    for _ in range(3):
        assert covered(background.subtract(picture(*part, light=light))) == pytest.approx(wanted, abs=0.02)
    assert covered(background.subtract(picture(light=light))) == 0


def test_the_background_follows_the_light_where_a_part_hides_it() -> None:
    background = learnt()
    for _ in range(5):
        background.subtract(picture((100, 180), light=1.3))
    assert np.abs(background.picture[:, 120:160].astype(int) - picture(light=1.3)[:, 120:160]).max() < 12


@pytest.mark.parametrize("part", [(0, 90), (100, 180), (20, 170), (240, 400)])
def test_a_part_in_the_first_frame_is_found(part: tuple[int, int]) -> None:
    share, _ = Background().subtract(picture(part)).profile(axis=0)
    there = np.flatnonzero(share > 0.05)
    assert abs(there[0] - part[0]) <= 2
    assert abs(there[-1] + 1 - min(part[1], WIDTH)) <= 2


def test_a_picture_of_another_size_starts_afresh() -> None:
    background = learnt()
    assert covered(background.subtract(picture(size=(640, 480)))) == 0
    assert background.picture.shape == (240, 320, 3)
    assert covered(background.subtract(picture(size=(100, 50)))) == 0
    assert background.picture.shape == (50, 100, 3)


@pytest.mark.parametrize("size", [(1, 1), (320, 1), (1, 320), (20, 20), (5000, 3)])
def test_pictures_of_any_size_are_taken(size: tuple[int, int]) -> None:
    background = Background()
    for _ in range(3):
        found = background.subtract(picture(size=size))
        assert np.isfinite(found.girth(0)).all()
        assert all(np.isfinite(line).all() for axis in (0, 1) for line in found.profile(axis))
    assert max(background.picture.shape) <= 320


def test_black_and_white_pictures_do_no_harm() -> None:
    background = Background()
    for level in (0, 255, 0, 255):
        found = background.subtract(np.full((60, 80, 3), level, np.uint8))
        assert covered(found) in (0, 1)


def test_a_camera_that_wakes_up_in_the_dark_is_waited_for() -> None:
    background = Background()
    for light in (0.0, 0.02, 0.05):
        background.subtract(picture(light=light))
    assert covered(background.subtract(picture())) == 0


def test_a_camera_that_was_moved_learns_the_new_view() -> None:
    background = Background()
    before = picture()
    after = np.zeros_like(before)
    after[:, : WIDTH // 2], after[:, WIDTH // 2 :] = (200, 30, 10), (10, 220, 90)
    for _ in range(20):
        background.subtract(before)
    shares = [covered(background.subtract(after)) for _ in range(COVERED_FRAMES + 60)]
    assert shares[COVERED_FRAMES // 2] > 0.9
    assert shares[-1] < 0.1


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1280, 720), (500, 333), (50, 40)])
@pytest.mark.parametrize("axis", [0, 1])
def test_thinned_out_across_the_travel_a_part_is_found_where_it_was(size: tuple[int, int], axis: int) -> None:
    background = Background()
    part = picture((size[0] // 4, size[0] // 2), size=size)
    for _ in range(8):
        background.subtract(picture(size=size))
    whole = background.subtract(part)
    wanted, seen, pixels = *whole.profile(axis), whole.mask.size
    shape = background.picture.shape
    background.thin_out(axis)
    for _ in range(5):
        assert covered(background.subtract(picture(size=size))) == 0
    thin = background.subtract(part)
    share, strength = thin.profile(axis)
    assert np.abs(np.flatnonzero(share > 0.05)[[0, -1]] - np.flatnonzero(wanted > 0.05)[[0, -1]]).max() <= 1
    assert share == pytest.approx(wanted, abs=0.06 if axis == 0 else 0.1)
    assert strength.max() == pytest.approx(seen.max(), rel=0.1)
    assert thin.mask.size < pixels or size == (50, 40)
    assert background.picture.shape == shape
    assert background.size == (shape[1], shape[0])


def test_light_is_followed_thinned_out_and_the_whole_background_shows_it() -> None:
    background = learnt()
    background.thin_out(0)
    for _ in range(3):
        background.subtract(picture((100, 180), light=1.3))
        assert np.abs(background.picture.astype(int) - picture(light=1.3)).max() < 12


def test_noise_that_halving_takes_out_is_no_part() -> None:
    """Of a large picture not every pixel is looked at; those that are must suffice to tell a faint part."""
    rng = np.random.default_rng(1)
    noise = [rng.normal(0, 6, (720, 1280, 3)).astype(np.float32) for _ in range(4)]
    background = Background()
    shown = np.full((720, 1280, 3), 100, np.float32)
    for n in range(40):
        background.subtract((shown + noise[n % 4]).astype(np.uint8))
        if n == 2:
            background.thin_out(0)
    shown[200:500, 400:700] += 18
    share, _ = background.subtract((shown + noise[2]).astype(np.uint8)).profile(0)
    assert share[105:170].min() > 0.35
    assert share[:95].max() < 0.05
