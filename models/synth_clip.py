"""What is made of synthetic parts: labelled frames, a dataset of them, and a conveyor clip with its ground truth."""

import csv
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.synth import (
    HEIGHT,
    LABELS,
    WIDTH,
    Image,
    Part,
    Scene,
    make_part,
    make_scene,
    render_frame,
    wholly_in_view,
    window,
)

FPS = 30.0

_LABEL_ODDS = (0.4, 0.2, 0.2, 0.2)
_FOLDS = 5
_SPEED = 9  # px per frame: each part is wholly in view for 20 to 25 frames
_SPACING = 252  # px from centre to centre: 28 frames
_CLIP_NOISE = 1.2  # grey levels; more of it costs megabytes and shows nothing


def render_sample(rng: np.random.Generator) -> tuple[Image, str, Image]:
    """Draw one training frame: mostly one part wholly in view, sometimes parts cut off, sometimes the bare belt.

    The label is that of the part wholly in view. Without one, it is that of the defect of which most is in view, if
    that is at least half of it, and else `ok`.

    Returns:
        The frame, uint8 (240, 320, 3) BGR; its label, one of `LABELS`; and the mask of the defect that the label
        names, uint8 (240, 320), 0 or 255. Defects that do not count are not in the mask.
    """
    scene = make_scene(rng)
    view = rng.random()
    placed: list[tuple[Part, float]] = []
    subject: tuple[Part, float] | None = None
    if view < 0.78:
        placed = _place_whole(rng)
        subject = placed[0]
    elif view < 0.92:
        placed = _place_cut(rng)
        shown = max(placed, key=lambda at: _defect_in_view(*at))
        subject = shown if _defect_in_view(*shown) >= 0.5 else None
    frame, _ = render_frame(scene, placed, rng)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    overlap = window(*subject) if subject else None
    if subject and overlap:
        mask[overlap[0]] = subject[0].defect_mask[overlap[1]]
    if rng.random() < 0.5:  # cameras and video files compress: learn to look past it
        _, packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))])
        frame = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return frame, subject[0].label if subject else "ok", mask


def write_dataset(
    folder: Path, count: int, seed: int, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> None:
    """Write labelled frames, their defect masks and an index.

    `folder` gets `images/LABEL/NNNNN.png`, `masks/LABEL/NNNNN.png` for each defect, and `index.csv` with the columns
    image, label, tile, fold and split. Each frame has its own stream, so a longer dataset begins with the shorter one.

    Args:
        folder: made if it is missing; files of the same names in it are replaced.
        count: how many frames, more than 0.
        seed: below `FIRST_HELD_OUT_SEED` for training, from there on for judging.
        progress: wraps the counting, as tqdm does.

    Raises:
        ValueError: `count` is not more than 0, or `seed` is negative.
        OSError: the folder cannot be written.
    """
    check_numbers(seed, count=count)
    for label in LABELS:
        make_folder(folder / "images" / label)
        if label != "ok":
            make_folder(folder / "masks" / label)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        index = csv.writer(file, lineterminator="\n")
        index.writerow(["image", "label", "tile", "fold", "split"])
        for i in progress(range(count)):
            frame, label, mask = render_sample(np.random.default_rng([seed, i]))
            name = f"{label}/{i:05d}.png"
            _write_png(folder / "images" / name, frame)
            if label != "ok":
                _write_png(folder / "masks" / name, mask)
            fold = i % _FOLDS
            index.writerow([f"images/{name}", label, f"synth-{seed}-{i:05d}", fold, "train" if fold else "val"])


def render_clip(video_path: Path, truth_path: Path, seed: int, parts: int) -> None:
    """Film parts that pass one after another from left to right, and write down what each frame shows.

    The truth is JSON: video, fps, width, height, seed, labels, and frames, which has for each frame its `seq` from 0,
    the number and the label of the part nearest the middle, null when no part is in view, and whether that part is
    wholly in view.

    Args:
        video_path: the MP4 file; replaced if it is there.
        truth_path: the JSON file; replaced if it is there.
        seed: from `FIRST_HELD_OUT_SEED` on, so that no model has learnt these parts.
        parts: how many, more than 0.

    Raises:
        ValueError: `parts` is not more than 0, or `seed` is negative.
        OSError: a file cannot be written, or OpenCV cannot encode MPEG-4.
    """
    check_numbers(seed, parts=parts)
    rng = np.random.default_rng(seed)
    scene = replace(make_scene(rng), noise=_CLIP_NOISE, blur=0.4)
    cycle = ["ok", "scratch", "ok", "stain", "deformation"]
    labels = rng.permutation([cycle[i % len(cycle)] for i in range(parts)])
    line = [make_part(str(label), rng) for label in labels]
    make_folder(video_path.parent)
    make_folder(truth_path.parent)
    truth = _film(video_path, scene, line, rng)
    head = {"video": video_path.name, "fps": FPS, "width": WIDTH, "height": HEIGHT, "seed": seed}
    rows = ",\n".join(json.dumps(entry) for entry in truth)  # one line per frame, so that a person can read it
    opening = json.dumps({**head, "labels": list(LABELS)})[:-1]
    truth_path.write_text(f'{opening}, "frames": [\n{rows}\n]}}\n', encoding="utf-8")


def _random_part(rng: np.random.Generator) -> Part:
    return make_part(str(rng.choice(LABELS, p=_LABEL_ODDS)), rng)


def _place_whole(rng: np.random.Generator) -> list[tuple[Part, float]]:
    """One part wholly in view, first in the list, and neighbours that peek in at most."""
    part = _random_part(rng)
    x = float(rng.integers(part.half_width, WIDTH - part.half_width + 1))
    placed = [(part, x)]
    for side in (-1, 1):
        beside = x + side * rng.uniform(235, 300)
        if -40 < beside < WIDTH + 40 and rng.random() < 0.7:
            neighbour = _random_part(rng)
            if not wholly_in_view(neighbour, beside):
                placed.append((neighbour, beside))
    return placed


def _place_cut(rng: np.random.Generator) -> list[tuple[Part, float]]:
    """One or two parts, each cut off by the frame's end, and no defect that is about half in view: a coin toss."""
    pair = [_random_part(rng), _random_part(rng)][: rng.integers(1, 3)]
    for _ in range(20):
        x = rng.uniform(-35, 45)
        spots = [x, x + rng.uniform(250, 310)][: len(pair)]
        if rng.random() < 0.5:
            spots = [WIDTH - x for x in spots]
        placed = list(zip(pair, spots, strict=True))
        if not any(wholly_in_view(*at) or 0.3 < _defect_in_view(*at) < 0.7 for at in placed):
            return placed
    return [(pair[0], float(-pair[0].half_width + 8))]  # hardly in view: never in doubt


def _defect_in_view(part: Part, x_centre: float) -> float:
    """The share of the part's defect that the frame shows, 0 to 1; 0 for a part without one."""
    overlap = window(part, x_centre)
    whole = np.count_nonzero(part.defect_mask)
    return np.count_nonzero(part.defect_mask[overlap[1]]) / whole if overlap and whole else 0.0


def _film(video_path: Path, scene: Scene, line: list[Part], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Encode the clip frame by frame; return the truth of each."""
    writer = cv2.VideoWriter(str(video_path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise OSError(f"{video_path} cannot be written as MPEG-4 video.")
    truth = []
    lead = 80  # px; the first part starts out of view, the last one leaves it
    length = WIDTH + 2 * lead + (len(line) - 1) * _SPACING
    for seq in range(length // _SPEED + 1):
        shift = seq * _SPEED
        spots = [(part, float(shift - lead - i * _SPACING)) for i, part in enumerate(line)]
        frame, _ = render_frame(scene, spots, rng, belt_shift=shift)
        writer.write(frame)
        truth.append(_truth(seq, spots))
    writer.release()
    return truth


def _truth(seq: int, spots: list[tuple[Part, float]]) -> dict[str, Any]:
    in_view = [i for i, (part, x) in enumerate(spots) if -part.half_width < x < WIDTH + part.half_width]
    if not in_view:
        return {"seq": seq, "part": None, "label": None, "wholly_in_view": False}
    nearest = min(in_view, key=lambda i: abs(spots[i][1] - WIDTH / 2))
    part, x = spots[nearest]
    return {"seq": seq, "part": nearest, "label": part.label, "wholly_in_view": wholly_in_view(part, x)}


def make_folder(folder: Path) -> None:
    """Make a folder to write into, with those above it.

    Raises:
        OSError: it cannot be made, or not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise OSError(f"The folder {folder} is not writable.")


def _write_png(path: Path, picture: Image) -> None:
    _, packed = cv2.imencode(".png", picture)
    path.write_bytes(packed.tobytes())  # unlike cv2.imwrite, this says why it failed


def check_numbers(seed: int, **counts: int) -> None:
    """Refuse a negative seed and counts that are not more than 0.

    Raises:
        ValueError: which number it is, and what it must be.
    """
    for name, value in counts.items():
        if value <= 0:
            raise ValueError(f"{name} is {value}, and must be more than 0.")
    if seed < 0:
        raise ValueError(f"seed is {seed}, and must not be negative.")
