"""A line at work, filmed: speed, spacing, light and direction change, parts touch, the belt stops and runs backwards.

`models.synth_clip` films an ideal conveyor; these clips are what a decider has to cope with, and their truth says what
it should have told. The parts are those of `models.synth`, the belts come in several styles.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.synth import LABELS
from models.synth_clip import check_numbers, make_folder
from models.synth_plan import FPS, LEAST_STOP, TOUCH_PX, Sizes, Variety, jitter, light, place, run_belt
from models.synth_view import DIRECTIONS, STYLES, Line, Moment, Sprite, make_line, make_sprite, take_picture


def render_line(
    video_path: Path,
    truth_path: Path,
    seed: int,
    parts: int,
    *,
    direction: str = "random",
    style: str = "random",
    variety: Variety | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Film a line and write down what happened.

    The truth is JSON with a head, `parts` and `frames`, one row each; docs/bundles.md explains it.

    Args:
        video_path: the MP4 file; replaced if it is there.
        truth_path: the JSON file; replaced if it is there.
        seed: from `models.synth.FIRST_HELD_OUT_SEED` on, so that no model has learnt these parts.
        parts: how many, more than 0.
        direction: one of `DIRECTIONS`, or `random`.
        style: one of `STYLES`, or `random`.
        variety: how much goes on; as `Variety()` when None.
        progress: wraps the counting of frames, as tqdm does.

    Raises:
        ValueError: `parts` is not more than 0, or `seed` is negative, or there is no such direction or style.
        OSError: a file cannot be written, or OpenCV cannot encode MPEG-4.
    """
    check_numbers(seed, parts=parts)
    variety = variety or Variety()
    looks, body, plan, camera = np.random.default_rng(seed).spawn(4)
    direction, style = _chosen("direction", direction, DIRECTIONS, looks), _chosen("style", style, STYLES, looks)
    line = make_line(direction, style, looks)
    cycle = ["ok", "scratch", "ok", "stain", "deformation"]
    labels = body.permutation([cycle[i % len(cycle)] for i in range(parts)])
    sprites = [make_sprite(str(label), style, body) for label in labels]
    sizes = _sizes(line, sprites)
    positions = place(sizes, line.view, variety, plan)
    run = run_belt(positions, sizes, line.view, variety, plan)
    frames = len(run.shift)
    changes = zip(run.shift, run.speed, jitter(frames, plan), light(frames, plan), strict=True)
    moments = [Moment(int(shift), float(speed), int(off), float(gain)) for shift, speed, off, gain in changes]
    make_folder(video_path.parent)
    make_folder(truth_path.parent)
    rows = _film(video_path, line, sprites, positions, moments, rng=camera, progress=progress)
    head = {"video": video_path.name, "fps": FPS, "width": line.width, "height": line.height, "seed": seed}
    head |= {"direction": direction, "style": style, "labels": list(LABELS), "variety": asdict(variety)}
    told = _stories(sprites, rows, line.view)
    _mark_touching(told, positions, sizes)
    truth_path.write_text(
        f'{json.dumps(head)[:-1]}, "parts": [\n{_lines(told)}\n], "frames": [\n{_lines(rows)}\n]}}\n', encoding="utf-8"
    )


def _film(
    video_path: Path,
    line: Line,
    sprites: list[Sprite],
    positions: npt.NDArray[np.int64],
    moments: list[Moment],
    *,
    rng: np.random.Generator,
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> list[dict[str, Any]]:
    """Encode the clip frame by frame; return the truth of each."""
    writer = cv2.VideoWriter(str(video_path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (line.width, line.height))
    if not writer.isOpened():
        raise OSError(f"{video_path} cannot be written as MPEG-4 video.")
    rows = []
    reach = 100  # px; a part with its shadow reaches less far
    for seq in progress(range(len(moments))):
        moment = moments[seq]
        shift = moment.shift
        near = np.flatnonzero((shift - positions > -reach) & (shift - positions < line.view + reach))
        placed = [(sprites[i], shift - int(positions[i])) for i in near]
        writer.write(take_picture(line, placed, moment, rng))
        spans = [(int(i), *line.span(*at)) for i, at in zip(near, placed, strict=True)]
        seen = [[i, low, high] for i, low, high in spans if high > 0 and low < line.view]
        rows.append({"seq": seq, "shift": shift, "speed": round(moment.speed, 2), "parts": seen})
    writer.release()
    return rows


def _sizes(line: Line, sprites: list[Sprite]) -> Sizes:
    spans = np.asarray([sprite.y_span if line.upright else sprite.x_span for sprite in sprites], np.float64)
    low, high = -spans[:, 0], spans[:, 1]
    return Sizes(ahead=high, behind=low) if line.direction in {"right", "down"} else Sizes(ahead=low, behind=high)


def _stories(sprites: list[Sprite], rows: list[dict[str, Any]], view: int) -> list[dict[str, Any]]:
    """What became of each part, from the truth of the frames."""
    seen: list[list[tuple[dict[str, Any], bool]]] = [[] for _ in sprites]
    for row in rows:
        for number, low, high in row["parts"]:
            seen[number].append((row, low >= 0 and high <= view))
    stands = _standing(rows)
    told = []
    for number, (sprite, views) in enumerate(zip(sprites, seen, strict=True)):
        seqs = [row["seq"] for row, _ in views]
        told.append(
            {
                "part": number,
                "label": sprite.label,
                "first_seq": seqs[0],
                "last_seq": seqs[-1],
                "whole_seqs": sum(whole for _, whole in views),
                "entries": 1 + sum(int(gap > 1) for gap in np.diff(seqs)),
                "touching": [],
                "stopped": not stands.isdisjoint(seqs),
                "went_back": any(row["speed"] < 0 for row, _ in views),
                "complete": seqs[0] > 0 and seqs[-1] < len(rows) - 1,
            }
        )
    return told


def _mark_touching(told: list[dict[str, Any]], positions: npt.NDArray[np.int64], sizes: Sizes) -> None:
    """Enter the neighbours that are not more than 3 px away."""
    for i in range(len(told) - 1):
        if positions[i + 1] - positions[i] - sizes.behind[i] - sizes.ahead[i + 1] <= TOUCH_PX:
            told[i]["touching"].append(i + 1)
            told[i + 1]["touching"].append(i)


def _standing(rows: list[dict[str, Any]]) -> set[int]:
    """The frames in which the belt stands for a second or longer."""
    found: set[int] = set()
    stretch: list[int] = []
    for row in [*rows, {"seq": -1, "speed": 1.0}]:
        if row["speed"] == 0:
            stretch.append(row["seq"])
            continue
        if len(stretch) >= LEAST_STOP:
            found.update(stretch)
        stretch = []
    return found


def _chosen(what: str, name: str, allowed: tuple[str, ...], rng: np.random.Generator) -> str:
    """`name`, or with `random` any but `bright`; draws in both cases, so that the rest of the clip is the same."""
    drawn = str(rng.choice([one for one in allowed if one != "bright"]))
    if name not in {*allowed, "random"}:
        raise ValueError(f"{what} {name!r} is not one of {', '.join(allowed)}, random.")
    return drawn if name == "random" else name


def _lines(rows: list[dict[str, Any]]) -> str:
    return ",\n".join(json.dumps(row) for row in rows)
