import json
import re
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.__main__ import main
from models.synth import FIRST_HELD_OUT_SEED, LABELS, Image
from models.synth_line import render_line
from models.synth_plan import TOUCH_PX, Sizes, Variety, light, place, run_belt
from models.synth_view import DIRECTIONS, STYLES, Moment, make_line, make_sprite, take_picture

SEED = FIRST_HELD_OUT_SEED + 500
CALM = Variety(touching=0, stops=0, backs=0, begin_in_view=0, end_in_view=0)

Clip = tuple[dict[str, Any], list[Image]]


def film(folder: Path, seed: int = SEED, parts: int = 6, **options: Any) -> Clip:
    video, truth = folder / "line.mp4", folder / "line.truth.json"
    render_line(video, truth, seed, parts, **options)
    capture = cv2.VideoCapture(str(video))
    frames: list[Image] = []
    while True:
        found, frame = capture.read()
        if not found:
            return json.loads(truth.read_text(encoding="utf-8")), frames
        frames.append(np.asarray(frame, np.uint8))


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A clip in which everything happens that can happen within it."""
    variety = Variety(touching=0.4, stops=20, backs=40, begin_in_view=0, end_in_view=1)
    return film(tmp_path_factory.mktemp("line"), parts=10, direction="right", style="textured", variety=variety)


def view(truth: dict[str, Any]) -> int:
    return int(truth["height"] if truth["direction"] in {"down", "up"} else truth["width"])


def test_same_seed_same_clip(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, frames = film(tmp_path / "one", parts=2)
    two, same_frames = film(tmp_path / "two", parts=2)
    assert one == two
    assert all(np.array_equal(a, b) for a, b in zip(frames, same_frames, strict=True))


def test_other_seed_other_clip(tmp_path: Path) -> None:
    assert film(tmp_path, SEED, 2)[0]["frames"] != film(tmp_path, SEED + 1, 2)[0]["frames"]


def test_head_names_what_was_drawn(tmp_path: Path) -> None:
    truth, frames = film(tmp_path, parts=2, variety=CALM)
    assert truth["video"] == "line.mp4"
    assert truth["fps"] == 30
    assert truth["seed"] == SEED
    assert truth["direction"] in DIRECTIONS
    assert truth["style"] in STYLES
    assert truth["labels"] == list(LABELS)
    assert truth["variety"] == asdict(CALM)
    assert {frame.shape for frame in frames} == {(truth["height"], truth["width"], 3)}
    assert [row["seq"] for row in truth["frames"]] == list(range(len(frames)))


def test_everything_happens(eventful: Clip) -> None:
    truth, _ = eventful
    parts, rows = truth["parts"], truth["frames"]
    assert any(part["touching"] for part in parts)
    assert any(part["stopped"] for part in parts)
    assert any(part["went_back"] for part in parts)
    assert any(part["entries"] > 1 for part in parts), "no part left by the side it came from"
    assert any(row["speed"] == 0 for row in rows)
    assert any(row["speed"] < 0 for row in rows)
    assert not parts[-1]["complete"], "the clip was to end with the last part in view"
    assert parts[3]["complete"]


def test_nothing_happens_when_it_is_not_asked_for(tmp_path: Path) -> None:
    truth, _ = film(tmp_path, variety=CALM)
    for part in truth["parts"]:
        assert part["complete"]
        assert part["entries"] == 1
        assert not part["touching"]
        assert not part["stopped"]
        assert not part["went_back"]
    assert all(row["speed"] > 0 for row in truth["frames"])
    assert truth["frames"][0]["parts"] == truth["frames"][-1]["parts"] == []


def test_parts_are_numbered_as_they_come_in_and_told_as_the_frames_show_them(eventful: Clip) -> None:
    truth, _ = eventful
    parts, rows = truth["parts"], truth["frames"]
    assert [part["part"] for part in parts] == list(range(10))
    firsts = [part["first_seq"] for part in parts]
    assert firsts == sorted(firsts)
    assert {part["label"] for part in parts} == set(LABELS)
    assert sum(part["label"] == "ok" for part in parts) == 4
    belt = "".join("-" if row["speed"] else "0" for row in rows)
    standing = {seq for stop in re.finditer("0{30,}", belt) for seq in range(*stop.span())}
    for part in parts:
        spans = {row["seq"]: at[1:] for row in rows for at in row["parts"] if at[0] == part["part"]}
        assert part["first_seq"] == min(spans)
        assert part["last_seq"] == max(spans)
        assert part["whole_seqs"] == sum(low >= 0 and high <= view(truth) for low, high in spans.values())
        assert part["stopped"] == any(seq in standing for seq in spans)
        assert part["went_back"] == any(rows[seq]["speed"] < 0 for seq in spans)


def test_touching_is_mutual_and_means_a_small_gap(eventful: Clip) -> None:
    truth, _ = eventful
    for row in truth["frames"]:
        spans = {number: (low, high) for number, low, high in row["parts"]}
        for number in spans.keys() & {number - 1 for number in spans}:
            gap = spans[number][0] - spans[number + 1][1]
            close = number + 1 in truth["parts"][number]["touching"]
            assert close == (number in truth["parts"][number + 1]["touching"]) == (gap <= TOUCH_PX)
            assert gap >= 0


def test_parts_move_with_the_belt(eventful: Clip) -> None:
    truth, _ = eventful
    rows = truth["frames"]
    for before, row in pairwise(rows):
        moved = row["shift"] - before["shift"]
        assert abs(moved - before["speed"]) <= 1.01
        spots = {at[0]: at[1] for at in before["parts"]}
        assert all(at[1] - spots[at[0]] == moved for at in row["parts"] if at[0] in spots)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_pixels_differ_from_the_empty_belt_where_a_part_is_said_to_be(direction: str, style: str) -> None:
    line = make_line(direction, style, np.random.default_rng(SEED))
    sprite = make_sprite("stain", style, np.random.default_rng(SEED))
    moment = Moment(shift=1234, speed=8.0, off=1, gain=1.0)
    for centre in (-30, 20, 100, line.view - 10):
        shown = take_picture(line, [(sprite, centre)], moment, np.random.default_rng(1))
        empty = take_picture(line, [], moment, np.random.default_rng(1))
        change = np.abs(shown.astype(np.int16) - empty).max(axis=2) > 20
        hits = np.flatnonzero(change.any(axis=1 if line.upright else 0))
        low, high = np.clip(line.span(sprite, centre), 0, line.view)
        assert abs(hits[0] - low) <= 6  # shadow and blur reach over the edge
        assert abs(hits[-1] + 1 - high) <= 8


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_video_shows_what_the_truth_says(tmp_path: Path, direction: str) -> None:
    truth, frames = film(tmp_path, parts=3, direction=direction, style="plain", variety=CALM)
    upright = direction in {"down", "up"}
    firsts = []
    for row, frame in zip(truth["frames"], frames, strict=True):
        bright = frame.max(axis=2).astype(np.int16) > 1.5 * np.median(frame.max(axis=2)[:8, :8]) + 12
        across = np.count_nonzero(bright, axis=1 if upright else 0) > 10
        said = np.zeros(view(truth), np.bool_)
        for _, low, high in row["parts"]:
            said[max(low, 0) : max(high, 0)] = True
        assert np.count_nonzero(across != said) <= 0.12 * view(truth), row
        firsts += [at[1] for at in row["parts"] if at[0] == 0]
    assert (firsts[-1] > firsts[0]) == (direction in {"right", "down"})


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_belt_runs_with_its_parts(direction: str) -> None:
    line = make_line(direction, "cleats", np.random.default_rng(SEED))
    line = replace(line, noise=line.noise * 0, lamp=np.ones_like(line.lamp), shutter=0.0)

    def at(shift: int) -> Image:
        picture = take_picture(line, [], Moment(shift, 0.0, 0, 1.0), np.random.default_rng(1))
        return picture.transpose(1, 0, 2) if line.upright else picture

    along = line.along(20 + 50) - line.along(20)
    assert abs(along) == 50
    moved = np.roll(at(100), along, axis=1)[:, 60:-60].astype(np.int16)
    assert np.abs(moved - at(150)[:, 60:-60]).max() <= 1


def places(seed: int, count: int = 220) -> tuple[np.ndarray[Any, Any], Sizes]:
    rng = np.random.default_rng(seed)
    sizes = Sizes(*np.floor(rng.uniform(45, 70, (2, count))))
    return place(sizes, 320, Variety(), rng), sizes


@pytest.mark.parametrize("seed", range(5))
def test_gaps_are_as_varied_as_they_should_be(seed: int) -> None:
    positions, sizes = places(seed)
    gaps = np.diff(positions) - sizes.behind[:-1] - sizes.ahead[1:]
    close = gaps <= TOUCH_PX
    grouped = np.count_nonzero(np.append(close, False) | np.append(False, close))
    assert 0.055 * 220 <= grouped <= 0.085 * 220
    assert gaps.min() >= 0
    assert not ((gaps > TOUCH_PX) & (gaps < 12)).any()
    assert not (close[:-2] & close[1:-1] & close[2:]).any(), "groups have three parts at most"
    assert np.count_nonzero(gaps > 320) >= 5


@pytest.mark.parametrize("seed", range(5))
def test_speed_and_events_stay_within_their_limits(seed: int) -> None:
    positions, sizes = places(seed)
    run = run_belt(positions, sizes, 320, Variety(), np.random.default_rng(seed))
    assert run.speed.max() <= 14
    assert run.speed.max() - run.speed[run.speed > 0].min() > 6
    backwards = run.speed < 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], backwards, [False]])))
    lengths = [-run.speed[a:b].sum() for a, b in edges.reshape(-1, 2)]
    assert len(lengths) >= 5
    assert all(9 <= length <= 90 for length in lengths)
    assert np.count_nonzero(run.speed == 0) >= 5 * 30


def test_light_varies_but_the_picture_never_goes_dark() -> None:
    levels = [light(2000, np.random.default_rng(seed)) for seed in range(30)]
    assert all(level.min() > 0.5 and level.max() < 1.75 for level in levels)
    assert all(level.max() - level.min() > 0.1 for level in levels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 0}, "parts is 0, and must be more than 0"),
        ({"seed": -1}, "seed is -1, and must not be negative"),
        ({"direction": "sideways"}, "direction 'sideways' is not one of right, left, down, up, random"),
        ({"style": "tartan"}, "style 'tartan' is not one of textured, plain"),
    ],
)
def test_what_cannot_be_rendered_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        film(tmp_path, **options)
    assert not any(tmp_path.iterdir())


def test_command_writes_video_and_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"synth line --out {tmp_path}/a.mp4 --parts 1 --seed {SEED} --direction up --style low --stops 0 --backs 0"
    assert main(words.split()) == 0
    assert "a.truth.json" in capsys.readouterr().out
    truth = json.loads((tmp_path / "a.truth.json").read_text(encoding="utf-8"))
    assert (truth["direction"], truth["style"], truth["variety"]["stops"]) == ("up", "low", 0)
    assert (tmp_path / "a.mp4").stat().st_size > 10_000


@pytest.mark.parametrize(("option", "message"), [("--touching 2", "touching"), ("--fastest 1", "slowest")])
def test_variety_that_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    assert main(f"synth line --out {tmp_path}/a.mp4 --parts 1 {option}".split()) == 1
    assert message in capsys.readouterr().err
