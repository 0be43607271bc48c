"""`python -m models speed-table`: speed and memory of networks over shapes, in every form, on every engine."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from tqdm import tqdm

from models.speed_cell import make_file, measure_cell
from models.speed_forms import ENGINES, FORMS, Forms, Shape
from models.speed_report import Cells, device_in_words, draw_speed, report, rows_of
from models.tables import write_report
from models.zoo import CLASSIFIERS

SIZES = (32, 64, 128, 224, 384, 512, 768, 1024)
PICTURES = (1, 16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `speed-table`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the tables, charts and models")
    parser.add_argument(
        "--network", nargs="+", choices=CLASSIFIERS, default=["resnet18", "mobilenetv3-small"], metavar="NAME"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="pixels (default: 32 to 1024)")
    parser.add_argument("--pictures", type=int, nargs="+", default=list(PICTURES), help="at once (default: 1 16)")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES)[1:], default=list(ENGINES)[1:])
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure (default: %(default)s)")
    parser.add_argument("--prepare", action="store_true", help="only make the models")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="the next call goes on from there")
    parser.add_argument("--again", action="store_true", help="measure also what is there already")


def run(args: argparse.Namespace) -> None:
    """Measure what is missing in FOLDER/speed.json, and write the tables and charts.

    Raises:
        ValueError: sizes that make no sense.
        RuntimeError: a form does not work on an engine.
        OSError: the folder cannot be written.
    """
    if min(args.sizes) < 32 or min(args.pictures) < 1:
        raise ValueError("--sizes and --pictures: give sizes of 32 or more, and 1 picture or more")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "speed.json"
    cells: Cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() and not args.again else {}
    everything = [
        (network, shape, form, engine)
        for network in args.network
        for shape in (Shape(n, size) for size in sorted(args.sizes) for n in sorted(args.pictures))
        for form in FORMS
        for engine in (["torch"] if form == "pytorch" else args.engines)
    ]
    forms = {name: Forms(args.out / "models" / name, name) for name in args.network}
    if args.prepare:
        for network, shape, form in tqdm(dict.fromkeys(row[:3] for row in everything), unit="model", disable=None):
            make_file(forms[network], form, shape)
        return
    missing = [row for row in everything if _key(*row) not in cells]
    end = monotonic() + (float("inf") if args.stop_after is None else args.stop_after)
    progress = tqdm(missing, unit="figure", disable=None)
    for network, shape, form, engine in progress:
        if monotonic() >= end:
            break
        progress.set_description(f"{network} {shape} {form}")
        cell = measure_cell(forms[network], form, engine, shape, args.seconds)
        cells[_key(network, shape, form, engine)] = asdict(cell)
        _keep(path, cells)
    left = sum(_key(*row) not in cells for row in everything)
    if left:
        print(f"{left} of {len(everything)} figures are missing: run it again to go on")
        return
    device = device_in_words()
    for network in args.network:
        draw_speed(rows_of(cells, network), args.out / f"speed-{network}.png", f"{network}: {device}")
    document = {"device": device, "cells": cells}
    write_report(args.out, "speed", report(cells, args.network, device), document)
    print(f"{args.out}: speed.md, speed.json and {len(args.network)} charts")


def _key(network: str, shape: Shape, form: str, engine: str) -> str:
    return f"{network} {shape} {form} {engine}"


def _keep(path: Path, cells: Cells) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"device": device_in_words(), "cells": cells}, indent=1) + "\n", encoding="utf-8")
    new.replace(path)
