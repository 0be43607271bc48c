"""`edgecls classify`: label and scores of image files, one-shot."""

import argparse
import functools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.backends import EngineSettings
from edge.bundle import Bundle, load_bundle
from edge.classification import Classification, Region
from edge.engine import Engine, Slot
from edge.errors import BadFrameError
from edge.preprocess import Preprocessor
from edge.segmentation import MaskReader
from edge.sources.images import read_image
from service.line_settings import engine_settings
from service.mask_picture import drawn, write_image
from service.messages import region_json
from service.settings import load_settings


def run(args: argparse.Namespace) -> int:
    """Classify every image; 1 when one of them could not be read, after the others are done."""
    if args.top < 1:
        print(f"edgecls classify: --top {args.top}: give 1 or more", file=sys.stderr)
        return 2
    bundle, settings = _chosen(args)
    masks = bundle.manifest.task == "segmentation"
    if args.mask and (not masks or len(args.images) != 1):
        what = "one image" if masks else f"a model that draws masks, and {bundle.manifest.name} is none"
        print(f"edgecls classify: --mask is for {what}", file=sys.stderr)
        return 2
    slot = Engine(bundle, settings).slot()
    reader = MaskReader(slot, {}) if masks else None
    preprocess = reader.preprocess if reader else Preprocessor(bundle.manifest.input.spec, slot.input)
    bad = 0
    for name in args.images:
        try:
            image = read_image(Path(name))
            start = time.perf_counter()
            preprocess(image)
        except BadFrameError as error:
            print(f"edgecls classify: {error}", file=sys.stderr)
            bad += 1
            continue
        slot.infer()
        classification, regions = reader.read() if reader else (Classification(bundle.labels, _scores(slot)), None)
        ms = (time.perf_counter() - start) * 1e3
        print((_json if args.json else functools.partial(_text, args.top))(name, classification, regions, ms))
        if reader and args.mask:
            write_image(args.mask, drawn(image, reader, bundle.labels.index(bundle.manifest.pass_label)))
    if bad:
        print(f"edgecls classify: {bad} of {len(args.images)} images could not be read", file=sys.stderr)
    return 1 if bad else 0


def _chosen(args: argparse.Namespace) -> tuple[Bundle, EngineSettings]:
    """What the command line names; without `--model`, bundle and engine of the configuration."""
    if args.model:
        return load_bundle(args.model), EngineSettings(args.backend or "auto", precision=args.precision or "auto")
    settings = load_settings(args.config)
    engine = engine_settings(settings.engine)
    asked = replace(engine, backend=args.backend or engine.backend, precision=args.precision or engine.precision)
    return load_bundle(settings.model_of(settings.lines[0])), asked


def _scores(slot: Slot) -> tuple[float, ...]:
    return tuple(np.round(slot.scores[0].astype(float), 6).tolist())


def _json(name: str, classification: Classification, regions: tuple[Region, ...] | None, ms: float) -> str:
    document = {
        "image": name,
        "label": classification.label,
        "score": classification.score,
        "scores": dict(zip(classification.labels, classification.scores, strict=True)),
        "ms": round(ms, 3),
    }
    if regions is not None:
        document["regions"] = [region_json(region) for region in regions]
    return json.dumps(document, ensure_ascii=False)


def _text(top: int, name: str, classification: Classification, regions: tuple[Region, ...] | None, _ms: float) -> str:
    lines = [f"{name}: " + ", ".join(f"{label} {score:.3f}" for label, score in classification.top(top))]
    for region in regions or ():
        x, y, width, height = region.box
        lines.append(
            f"  {region.label} {region.score:.3f}: {region.area_px} px ({region.area_percent:.2f} %), "
            f"{width}x{height} at {x}, {y}"
        )
    return "\n".join(lines)
