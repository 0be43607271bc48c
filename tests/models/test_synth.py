import argparse
import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models import synth_cli
from models.synth import (
    FIRST_HELD_OUT_SEED,
    HEIGHT,
    LABELS,
    WIDTH,
    Image,
    make_part,
    make_scene,
    render_frame,
    wholly_in_view,
)
from models.synth_clip import render_clip, render_sample, write_dataset

SEED = FIRST_HELD_OUT_SEED + 77  # held out: training never sees these pictures
DEFECTS = LABELS[1:]
DEMO = Path(__file__).parents[2] / "models" / "demo"


def frames_of(video: Path) -> list[Image]:
    capture = cv2.VideoCapture(str(video))
    frames: list[Image] = []
    while True:
        found, frame = capture.read()
        if not found:
            return frames
        frames.append(np.asarray(frame, np.uint8))


def picture(label: str, seed: int) -> tuple[Image, Image]:
    scene = replace(make_scene(np.random.default_rng(seed)), noise=0.0, flicker=0.0)
    part = make_part(label, np.random.default_rng(seed))
    return render_frame(scene, [(part, WIDTH / 2)], np.random.default_rng(seed))


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    synth_cli.add_arguments(parser)
    return parser.parse_args(words)


def test_same_seed_same_pixels() -> None:
    one, label, mask = render_sample(np.random.default_rng(SEED))
    two, same_label, same_mask = render_sample(np.random.default_rng(SEED))
    assert one.shape == (HEIGHT, WIDTH, 3)
    assert one.dtype == mask.dtype == np.uint8
    assert label == same_label
    assert np.array_equal(one, two)
    assert np.array_equal(mask, same_mask)


def test_other_seed_other_pixels() -> None:
    one, _, _ = render_sample(np.random.default_rng(SEED))
    two, _, _ = render_sample(np.random.default_rng(SEED + 1))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("seed", range(SEED, SEED + 12))
@pytest.mark.parametrize("label", DEFECTS)
def test_mask_lies_where_the_defect_shows(label: str, seed: int) -> None:
    frame, mask = picture(label, seed)
    clean, no_mask = picture("ok", seed)
    change = np.abs(frame.astype(np.int16) - clean).mean(axis=2)
    inside = mask > 0
    far = np.asarray(cv2.dilate(mask, np.ones((25, 25), np.uint8))) == 0
    assert not no_mask.any()
    assert np.count_nonzero(inside) >= 100
    assert change[inside].mean() > 20
    assert change[far].mean() < 2
    assert set(np.unique(mask)) == {0, 255}


def test_samples_have_every_label_and_a_mask_for_each_defect() -> None:
    samples = [render_sample(np.random.default_rng([SEED, i])) for i in range(80)]
    counts = Counter(label for _, label, _ in samples)
    assert set(counts) == set(LABELS)
    assert counts.most_common(1)[0][0] == "ok"
    assert all(mask.any() == (label != "ok") for _, label, mask in samples)


def test_part_out_of_view_leaves_the_belt_bare() -> None:
    scene = make_scene(np.random.default_rng(SEED))
    part = make_part("stain", np.random.default_rng(SEED))
    bare, _ = render_frame(scene, [], np.random.default_rng(1))
    gone, mask = render_frame(scene, [(part, -500.0)], np.random.default_rng(1))
    assert np.array_equal(bare, gone)
    assert not mask.any()


def test_wholly_in_view_ends_at_the_edge() -> None:
    part = make_part("ok", np.random.default_rng(SEED))
    assert wholly_in_view(part, part.half_width)
    assert not wholly_in_view(part, part.half_width - 1)
    assert not wholly_in_view(part, WIDTH - part.half_width + 1)


def test_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="'rust' is not one of ok, scratch, stain, deformation"):
        make_part("rust", np.random.default_rng(SEED))


def test_dataset_index_and_folders_agree(tmp_path: Path) -> None:
    write_dataset(tmp_path, 20, SEED)
    with (tmp_path / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "label", "tile", "fold", "split"]
    assert len({row["tile"] for row in rows}) == len(rows) == 20
    on_disk = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("images/*/*.png")}
    assert {row["image"] for row in rows} == on_disk
    masks = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("masks/*/*.png")}
    assert masks == {row["image"].replace("images", "masks") for row in rows if row["label"] != "ok"}
    for i, row in enumerate(rows):
        assert row["image"] == f"images/{row['label']}/{i:05d}.png"
        assert row["fold"] == str(i % 5)
        assert row["split"] == ("train" if i % 5 else "val")
    frame = cv2.imread(str(tmp_path / rows[7]["image"]))
    assert np.array_equal(np.asarray(frame), render_sample(np.random.default_rng([SEED, 7]))[0])


def test_clip_and_its_truth_agree(tmp_path: Path) -> None:
    args = parse("clip", "--out", str(tmp_path / "belt.mp4"), "--parts", "2", "--seed", str(SEED))
    synth_cli.run(args)
    truth: dict[str, Any] = json.loads((tmp_path / "belt.truth.json").read_text(encoding="utf-8"))
    frames = frames_of(tmp_path / "belt.mp4")
    assert truth["video"] == "belt.mp4"
    assert len(frames) == len(truth["frames"])
    assert [entry["seq"] for entry in truth["frames"]] == list(range(len(frames)))
    whole = Counter(entry["part"] for entry in truth["frames"] if entry["wholly_in_view"])
    assert set(whole) == {0, 1}
    assert all(18 <= count <= 26 for count in whole.values())
    assert truth["frames"][0] == {"seq": 0, "part": None, "label": None, "wholly_in_view": False}


def test_demo_clip_is_small_and_its_truth_is_whole() -> None:
    video = DEMO / "conveyor.mp4"
    truth = json.loads((DEMO / "conveyor.truth.json").read_text(encoding="utf-8"))
    frames = frames_of(video)
    assert video.stat().st_size < 2_000_000
    assert len(frames) == len(truth["frames"])
    assert frames[0].shape == (truth["height"], truth["width"], 3) == (HEIGHT, WIDTH, 3)
    assert truth["labels"] == list(LABELS)
    assert truth["seed"] >= FIRST_HELD_OUT_SEED
    parts = {entry["part"]: entry["label"] for entry in truth["frames"] if entry["wholly_in_view"]}
    assert sorted(parts) == list(range(24))
    assert set(parts.values()) == set(LABELS)


@pytest.mark.parametrize(("count", "seed", "message"), [(0, 1, "count is 0"), (-3, 1, "count is -3"), (1, -1, "seed")])
def test_bad_numbers_are_refused(tmp_path: Path, count: int, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "out", count, seed)
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"file.* cannot be made: Not a directory"):
        synth_cli.run(parse("dataset", "--out", str(tmp_path / "file" / "out"), "--count", "1"))


def test_clip_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parts is 0, and must be more than 0"):
        render_clip(tmp_path / "a.mp4", tmp_path / "a.json", SEED, 0)


def test_video_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OSError, match=r"cannot be written as MPEG-4"):
        render_clip(tmp_path / "a.mp4", tmp_path / "a.json", SEED, 1)
