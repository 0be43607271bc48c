"""`edgecls snapshot LINE`: what the line sees, with its region of interest, and beside it what the model sees of it."""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from edge.bundle import load_bundle
from edge.classification import Classification
from edge.engine import Engine
from edge.errors import PermanentError
from edge.frame import Frame, Image
from edge.preprocess import Preprocessor, Roi
from edge.reference import read_reference
from edge.trust import Trust
from service.line_settings import engine_settings, trust_settings
from service.sections import LineSection, Settings, reference_of
from service.seeing import frames, section_of
from service.settings import load_settings

GREEN = (0, 220, 0)
GAP = 8


def run(args: argparse.Namespace) -> int:
    """Take one frame, ask the model, write the picture and say what is in it."""
    settings = load_settings(args.config)
    section = section_of(settings, args.line)
    path = args.output or Path(f"{section.name}.png")
    if path.suffix.lower() not in {".png", ".jpg", ".jpeg"}:
        print(f"edgecls snapshot: --output {path}: give a name that ends in .png or .jpg", file=sys.stderr)
        return 2
    taken: list[Frame] = []
    frames(section, 0.0, lambda frame, _: taken.append(frame))
    picture, classification = _seen(settings, section, taken[-1])
    _write(picture, path)
    frame, doubts = taken[-1], _doubts(section, taken[-1])
    if args.json:
        scores = {label: round(score, 6) for label, score in classification.top(len(classification.labels))}
        said = {"line": section.name, "file": str(path), "width": frame.width, "height": frame.height}
        print(json.dumps({**said, "roi": section.roi, "label": classification.label, "scores": scores}))
        return 0
    roi = f", region of interest {section.roi}" if section.roi else ""
    print(f"{path}: {frame.width}x{frame.height}{roi}; on the right what the model sees")
    print("the model says " + ", ".join(f"{label} {score:.3f}" for label, score in classification.top(3)))
    print(doubts)
    return 0


def _seen(settings: Settings, section: LineSection, frame: Frame) -> tuple[Image, Classification]:
    bundle = load_bundle(settings.model_of(section))
    engine = Engine(bundle, engine_settings(settings.engine))
    try:
        slot = engine.slot()
        roi = Roi(*section.roi) if section.roi else None
        Preprocessor(bundle.manifest.input.spec, slot.input)(roi.view(frame.image) if roi else frame.image)
        slot.infer()
        scores = tuple(np.asarray(slot.scores[0], np.float64).tolist())
        view = np.array(slot.input[0])
    finally:
        engine.close()
    return _side_by_side(frame.image, roi, view), Classification(bundle.labels, scores)


def _side_by_side(image: Image, roi: Roi | None, view: Image) -> Image:
    """The frame with its region, and the model's input, enlarged without smoothing to show its pixels."""
    left = image.copy()
    if roi is not None:
        corner = (roi.x + roi.width - 1, roi.y + roi.height - 1)
        cv2.rectangle(left, (roi.x, roi.y), corner, GREEN, max(1, max(image.shape) // 400))
    times = max(1, image.shape[0] // view.shape[0])
    right = np.repeat(np.repeat(view, times, axis=0), times, axis=1)
    if right.shape[2] == 1:
        right = np.repeat(right, 3, axis=2)
    height = max(len(left), len(right))
    whole = np.full((height, left.shape[1] + GAP + right.shape[1], 3), 32, np.uint8)
    whole[: len(left), : left.shape[1]] = left
    whole[: len(right), left.shape[1] + GAP :] = right
    return whole


def _doubts(section: LineSection, frame: Frame) -> str:
    """How it stands against the reference picture; a single frame says nothing else that holds."""
    reference = read_reference(reference_of(section))
    if reference is None:
        return f"there is no reference picture yet: edgecls reference {section.name}"
    trust = Trust(trust_settings(section), live=False, reference=reference)
    for number in range(8):  # the causes must hold for a while
        trust.judge(frame.image, number * 500_000_000)
        trust.look(frame.image, number * 500_000_000)
    return trust.why or "it agrees with the reference picture"


def _write(picture: Image, path: Path) -> None:
    _, data = cv2.imencode(path.suffix, picture)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise PermanentError(f"{path} cannot be written ({error.strerror}): name another file with --output") from error
