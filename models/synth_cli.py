"""`python -m models synth`: render a dataset or a clip of a conveyor without a camera."""

import argparse
from pathlib import Path

from tqdm import tqdm

from models.synth_clip import render_clip, write_dataset
from models.synth_line import render_line
from models.synth_plan import Variety
from models.synth_view import DIRECTIONS, STYLES

_VARIETY = {
    "touching": "share of parts that touch another one",
    "stops": "stops of the belt per 100 parts",
    "backs": "how often the belt runs backwards, per 100 parts",
    "begin_in_view": "chance that the clip begins with a part in view",
    "end_in_view": "chance that the clip ends with a part in view",
    "slowest": "px per frame",
    "fastest": "px per frame",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands `dataset`, `clip` and `line`."""
    kinds = parser.add_subparsers(dest="kind", required=True)
    dataset = kinds.add_parser("dataset", help="labelled frames, defect masks and index.csv")
    dataset.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    dataset.add_argument("--count", type=int, default=4000, help="how many frames (default: %(default)s)")
    dataset.add_argument("--seed", type=int, default=1, help="below 1000000 for training (default: %(default)s)")
    clip = kinds.add_parser("clip", help="a video of a conveyor, and its truth beside it")
    clip.add_argument("--out", type=Path, required=True, metavar="FILE.mp4", help="the video; truth: FILE.truth.json")
    clip.add_argument("--parts", type=int, default=24, help="how many parts pass (default: %(default)s)")
    clip.add_argument("--seed", type=int, default=20261122, help="1000000 or more (default: %(default)s)")
    line = kinds.add_parser("line", help="a video of a line where speed, spacing and light change, and its truth")
    line.add_argument("--out", type=Path, required=True, metavar="FILE.mp4", help="the video; truth: FILE.truth.json")
    line.add_argument("--parts", type=int, default=60, help="how many parts pass (default: %(default)s)")
    line.add_argument("--seed", type=int, default=2000000, help="1000000 or more (default: %(default)s)")
    line.add_argument("--direction", choices=(*DIRECTIONS, "random"), default="random", help="where the parts go")
    line.add_argument("--style", choices=(*STYLES, "random"), default="random", help="the belt; random: any but bright")
    for option, text in _VARIETY.items():
        default = getattr(Variety(), option)
        name = f"--{option.replace('_', '-')}"
        line.add_argument(name, type=float, default=default, metavar="X", help=f"{text} (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Do what the parsed arguments ask for.

    Raises:
        ValueError: a number is out of its range.
        OSError: the output cannot be written.
    """
    if args.kind == "dataset":
        write_dataset(args.out, args.count, args.seed, progress=lambda numbers: tqdm(numbers, unit="frame"))
        print(f"{args.count} frames are in {args.out}.")
        return
    truth = args.out.with_suffix(".truth.json")
    if args.kind == "clip":
        render_clip(args.out, truth, args.seed, args.parts)
    else:
        render_line(
            args.out,
            truth,
            args.seed,
            args.parts,
            direction=args.direction,
            style=args.style,
            variety=Variety(**{option: getattr(args, option) for option in _VARIETY}),
            progress=lambda frames: tqdm(frames, unit="frame", disable=None),
        )
    print(f"{args.parts} parts pass in {args.out}; the truth is in {truth}.")
