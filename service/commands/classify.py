"""`edgecls classify`: label and scores of image files, one-shot."""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.backends import EngineSettings
from edge.bundle import Bundle, load_bundle
from edge.classification import Classification
from edge.engine import Engine
from edge.errors import BadFrameError
from edge.preprocess import Preprocessor
from edge.sources.images import read_image
from service.line_settings import engine_settings
from service.settings import load_settings


def run(args: argparse.Namespace) -> int:
    """Classify every image; 1 when one of them could not be read, after the others are done."""
    if args.top < 1:
        print(f"edgecls classify: --top {args.top}: give 1 or more", file=sys.stderr)
        return 2
    bundle, settings = _chosen(args)
    slot = Engine(bundle, settings).slot()
    preprocess = Preprocessor(bundle.manifest.input.spec, slot.input)
    bad = 0
    for name in args.images:
        try:
            image = read_image(Path(name))
        except BadFrameError as error:
            print(f"edgecls classify: {error}", file=sys.stderr)
            bad += 1
            continue
        start = time.perf_counter()
        preprocess(image)
        slot.infer()
        ms = (time.perf_counter() - start) * 1e3
        classification = Classification(bundle.labels, tuple(np.round(slot.scores[0].astype(float), 6).tolist()))
        print(_json(name, classification, ms) if args.json else _text(name, classification, args.top))
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


def _json(name: str, classification: Classification, ms: float) -> str:
    return json.dumps(
        {
            "image": name,
            "label": classification.label,
            "score": classification.score,
            "scores": dict(zip(classification.labels, classification.scores, strict=True)),
            "ms": round(ms, 3),
        },
        ensure_ascii=False,
    )


def _text(name: str, classification: Classification, top: int) -> str:
    return f"{name}: " + ", ".join(f"{label} {score:.3f}" for label, score in classification.top(top))
