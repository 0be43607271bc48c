"""`edgecls reference LINE`: the picture of the commissioning, against which `moved` and `covered` are judged."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from edge.errors import PermanentError
from edge.frame import Frame, Image
from edge.reference import Reference, take_reference, write_reference
from service.sections import reference_of
from service.seeing import frames, section_of
from service.settings import load_settings

PICTURES = 15
"""Of which the median is taken, spread over the time."""


def run(args: argparse.Namespace) -> int:
    """Take it, and say what it is."""
    section = section_of(load_settings(args.config), args.line)
    path = reference_of(section)
    if not 0 < args.seconds <= 15:
        print(f"edgecls reference: --seconds {args.seconds:g}: give more than 0, at most 15", file=sys.stderr)
        return 2
    kept = _Spread(args.seconds)
    count = frames(section, args.seconds, kept.take)
    same_size = [image for image in kept.images if image.shape == kept.images[-1].shape]
    reference = take_reference(same_size)
    _write(reference, path)
    height, width = reference.image.shape[:2]
    still = float(np.mean(reference.still > 0))
    if args.json:
        said = {"line": section.name, "file": str(path), "width": width, "height": height, "still": round(still, 4)}
        print(json.dumps({**said, "frames": count, "pictures": len(same_size)}))
        return 0
    print(f"{path}: {width}x{height}, the median of {len(same_size)} pictures out of {count} frames")
    print(f"{still:.0%} of it stood still; moved and covered are judged by that part.")
    print("A running edgecls takes it over on `systemctl reload edgecls`.")
    return 0


class _Spread:
    """Keeps some pictures of a stretch of time."""

    def __init__(self, seconds: float) -> None:
        self._period_s = seconds / PICTURES
        self._due_s = 0.0
        self.images: list[Image] = []

    def take(self, frame: Frame, at_s: float) -> None:
        if at_s >= self._due_s and len(self.images) <= PICTURES:
            self._due_s = at_s + self._period_s
            self.images.append(frame.image.copy())


def _write(reference: Reference, path: Path) -> None:
    try:
        write_reference(reference, path)
    except OSError as error:
        raise PermanentError(
            f"{path} cannot be written ({error.strerror}): run it as root or as user edgecls, or set trust.reference"
        ) from error
