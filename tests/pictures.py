"""Decisions with pictures, for the tests of evidence: made as the daemon makes them, without a camera."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np

from edge.classification import Classification
from edge.decision import Decision, Evidence, Ruling, Verdict
from edge.frame import Frame, Image
from edge.stills import About, Still, Stills
from service.evidence.store import EvidenceSettings
from service.messages import Json, ModelInfo, decision_message

LABELS = ("ok", "scratch", "stain")
MIB = 1024 * 1024


def settings(path: Path, mib: int = 20, per_hour: int = 1_000_000, *, publish: bool = False) -> EvidenceSettings:
    return EvidenceSettings(path, mib * MIB, per_hour, publish=publish)


def image_of(number: int, width: int = 320, height: int = 240) -> Image:
    """Noise, which no JPEG makes small, with a number in it."""
    image: Image = np.random.default_rng(number).integers(0, 255, (height, width, 3)).astype(np.uint8)
    cv2.putText(image, str(number), (10, 120), cv2.FONT_HERSHEY_SIMPLEX, 2, (255, 255, 255), 6)
    return image


class Rejects:
    """Makes decisions of one line, one after the other; ids order by time, over all lines."""

    _numbers = itertools.count(1)

    def __init__(self, line: str = "line1", *, roi: tuple[int, int, int, int] | None = None) -> None:
        self._line = line
        self.stills = Stills(About(LABELS, roi), lambda: True)

    def still(self, image: Image, seq: int = 1) -> Still:
        self.stills.frame = Frame(self._line, seq, image, 1_790_000_000_000_000_000)
        still = self.stills.take()
        assert still is not None
        return still

    def message(self, verdict: Verdict = "reject", label: str = "scratch") -> Json:
        number = next(self._numbers)
        scores = tuple(0.9 if name == label else 0.05 for name in LABELS)
        evidence = Evidence(Classification(LABELS, scores), number, 1_790_000_000_000_000_000, 320, 240, None, 0.1, 1.0)
        reason = "unclear" if verdict == "review" else ""
        decision = Decision(self._line, Ruling(verdict, evidence, reason), 1_790_000_000_000_000_000, 1.5)
        item_id = f"01900000-0000-7000-8000-{number:012x}"
        return decision_message(
            decision, node="cell-7", model=ModelInfo("demo", "1", "int8"), part=number, message_id=item_id
        )


def decoded(data: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image  # type: ignore[return-value]  # OpenCV's stubs know no dtype


def bytes_in(folder: Path) -> int:
    """What the files take up in blocks of 4 KiB, whatever they are called."""
    sizes = []
    for file in folder.rglob("*"):
        try:
            sizes.append(file.stat().st_size if file.is_file() else 0)
        except FileNotFoundError:  # it has just been renamed or removed
            continue
    return sum(-(-size // 4096) * 4096 for size in sizes)


def damaged_in(folder: Path) -> list[str]:
    """What a decoder or a parser of JSON does not take, and pictures without a decision."""
    wrong = []
    for picture in folder.glob("*/*.jpg"):
        data = picture.read_bytes()
        whole = data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9"
        if not whole or cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
            wrong.append(picture.name)
        if not picture.with_suffix(".json").exists():
            wrong.append(f"{picture.name} alone")
    for text in folder.glob("*/*.json"):
        decision = json.loads(text.read_bytes())["decision"]
        if decision["id"] != text.stem or not text.with_suffix(".jpg").exists():
            wrong.append(text.name)
    wrong += [file.name for file in folder.rglob("*.tmp")]
    return wrong
