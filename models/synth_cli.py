"""`python -m models synth`: render a dataset or a conveyor clip without a camera."""

import argparse
from pathlib import Path

from tqdm import tqdm

from models.synth_clip import render_clip, write_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands `dataset` and `clip`."""
    kinds = parser.add_subparsers(dest="kind", required=True)
    dataset = kinds.add_parser("dataset", help="labelled frames, defect masks and index.csv")
    dataset.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write into")
    dataset.add_argument("--count", type=int, default=4000, help="how many frames (default: %(default)s)")
    dataset.add_argument("--seed", type=int, default=1, help="below 1000000 for training (default: %(default)s)")
    clip = kinds.add_parser("clip", help="a video of a conveyor, and its truth beside it")
    clip.add_argument("--out", type=Path, required=True, metavar="FILE.mp4", help="the video; truth: FILE.truth.json")
    clip.add_argument("--parts", type=int, default=24, help="how many parts pass (default: %(default)s)")
    clip.add_argument("--seed", type=int, default=20261122, help="1000000 or more (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Do what the parsed arguments ask for.

    Raises:
        ValueError: a number is out of its range.
        OSError: the output cannot be written.
    """
    if args.kind == "dataset":
        write_dataset(args.out, args.count, args.seed, progress=lambda numbers: tqdm(numbers, unit="frame"))
        print(f"{args.count} frames are in {args.out}.")
    else:
        truth = args.out.with_suffix(".truth.json")
        render_clip(args.out, truth, args.seed, args.parts)
        print(f"{args.parts} parts pass in {args.out}; the truth is in {truth}.")
