"""`python -m models quantize`: add a smaller model to a bundle: INT8 in several ways, or FP16."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from edge.bundle import Bundle, load_bundle
from edge.conversion.quantise import METHODS
from models.bundle_writer import edited
from models.compare import Row, compare, comparison_table
from models.dataset import Picture, known_pictures, read_dataset
from models.forms import check_weights
from models.measure import subjects_of
from models.smaller import LARGEST_LOSS, Wish, add_smaller

WAYS = (*sorted(METHODS), "dynamic", "nncf", "fp16")
COMPARED = ("dynamic", *sorted(METHODS), "nncf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `quantize`."""
    parser.add_argument("--model", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="labelled pictures to calibrate with")
    parser.add_argument("--split", default="train", choices=("train", "val", "all"), help="to calibrate with")
    parser.add_argument("--held-to", default="val", choices=("train", "val", "all"), help="the split to measure on")
    parser.add_argument(
        "--count", type=int, default=256, help="pictures, spread over the labels (default: %(default)s)"
    )
    parser.add_argument(
        "--method",
        choices=WAYS,
        default="minmax",
        help="static INT8 calibrated by minmax, entropy or percentile; dynamic INT8; nncf: INT8 for OpenVINO with "
        "accuracy control; fp16 (default: %(default)s)",
    )
    parser.add_argument(
        "--largest-loss",
        type=float,
        default=LARGEST_LOSS,
        help="with nncf: of balanced accuracy, or of a segmenter's mean IoU, 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--compare", action="store_true", help="try every INT8 and print a table; the bundle stays as it is"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> None:
    """Make the smaller model, check that engines can run it, enter it into the bundle, and say what it costs.

    When something fails the bundle stays as it was.

    Raises:
        ValueError: no bundle, no pictures, weights that are no numbers.
        EdgeError: the bundle is damaged, or a picture cannot be used.
    """
    bundle = load_bundle(args.model)
    if args.count < 1 or not 0 <= args.largest_loss < 1:
        raise ValueError(f"--count {args.count} --largest-loss {args.largest_loss}: give 1 or more, and 0 to 1")
    fp32 = bundle.file("fp32", "onnxruntime")
    check_weights(fp32)
    held_to = _held_to(args, bundle)
    wish = Wish(_calibration(args, bundle), held_to, args.largest_loss, args.count, args.seed)
    if args.compare:
        _compare(args, bundle, wish)
        return
    with edited(args.model) as folder:
        made = add_smaller(folder, args.method, wish)
    before, after = load_bundle(args.model), made.precision
    subjects, notes = subjects_of(before, ("fp32", after))
    rows = compare(subjects, held_to) if held_to else []
    _tell(args, rows, [*made.notes, *notes], {"method": args.method, "file": made.file, "in_fp32": list(made.kept)})


def _compare(args: argparse.Namespace, bundle: Bundle, wish: Wish) -> None:
    """Every way in a copy of the bundle; nothing of it stays."""
    if not wish.held_to:
        raise ValueError(f"{args.data} has no pictures in the split {args.held_to}: nothing to compare on")
    with tempfile.TemporaryDirectory() as folder:
        subjects, notes = subjects_of(bundle, ("fp32",))
        for way in COMPARED:
            copy = Path(folder) / way
            shutil.copytree(args.model, copy)
            made = add_smaller(copy, way, wish)
            found, problems = subjects_of(load_bundle(copy), (made.precision,), way)
            subjects += [one for one in found if one.file.name == made.file]
            notes += [f"{way}: {note}" for note in (*made.notes, *problems)]
        _tell(args, compare(subjects, wish.held_to), notes, {"method": "compare"})


def _tell(args: argparse.Namespace, rows: list[Row], notes: list[str], document: dict[str, Any]) -> None:
    notes += [
        f"{row['model']} is not faster than {row['against']} here"
        for row in rows
        if row["precision"] != "fp32" and row["faster"] <= 1
    ]
    if args.json:
        told = {"model": str(args.model), "held_to": args.held_to, **document, "rows": rows, "notes": notes}
        print(json.dumps(told, ensure_ascii=False))
        return
    for note in notes:
        print(note)
    if rows:
        print(f"\n{rows[0]['figures']['pictures']} pictures, split {args.held_to}\n\n{comparison_table(rows)}")
    else:
        print(f"{args.data} has no pictures in the split {args.held_to}: not measured")


def _calibration(args: argparse.Namespace, bundle: Bundle) -> list[Picture]:
    pictures = read_dataset(args.data, bundle.manifest.pass_label).split(args.split)
    if not pictures:
        raise ValueError(f"{args.data} has no pictures in the split {args.split}: nothing to calibrate with")
    return pictures


def _held_to(args: argparse.Namespace, bundle: Bundle) -> list[Picture]:
    """What to measure on; nothing where the split is empty."""
    dataset = read_dataset(args.data, bundle.manifest.pass_label)
    if not dataset.split(args.held_to):
        return []
    return known_pictures(args.data, args.held_to, bundle.labels, bundle.manifest.pass_label)
