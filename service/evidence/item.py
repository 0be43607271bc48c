"""One picture that is kept: what stands in the JSON beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from edge.errors import EdgeError
from service.evidence.budget import Saved

SCHEMA = "edgecls/evidence/1"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Of a decision. Names of files are made of it, so nothing else may pass."""


class EvidenceError(EdgeError):
    """A picture is not there, or cannot be labelled like that."""


@dataclass(frozen=True, slots=True)
class Item:
    """A decision and its picture.

    Attributes:
        id: of the decision; orders by time.
        line: its name.
        decision: the message, as it was published.
        label: what a person has said that it shows; None: nobody has.
        labels: those of the model, in its order.
        picture_seq: of the frame in the picture: that of the decision, or one near to it when there was none of it.
        captured_at: of the same frame, RFC 3339.
        width: of the picture, which is the whole frame, pixels.
        height: the same.
        roi: the region of interest in it, x, y, width, height; None: all of it.
        size_bytes: of the JPEG.
        saved: what was left of the budget of writes after this one.
    """

    id: str
    line: str
    decision: Mapping[str, Any]
    label: str | None
    labels: tuple[str, ...]
    picture_seq: int
    captured_at: str
    width: int
    height: int
    roi: tuple[int, int, int, int] | None
    size_bytes: int
    saved: Saved

    @property
    def shown_label(self) -> str | None:
        """What it shows as far as is known: what a person has said, else what it was rejected for."""
        if self.label is not None:
            return self.label
        return self.decision["label"] if self.decision["verdict"] == "reject" else None

    def labelled(self, label: str | None) -> "Item":
        """The same, as a person sees it.

        Raises:
            EvidenceError: the model knows no such label.
        """
        if label is not None and label not in self.labels:
            raise EvidenceError(f"{label!r} is no label of this line's model: choose one of {', '.join(self.labels)}")
        return replace(self, label=label)

    def json(self) -> bytes:
        """As it is kept."""
        return to_json(
            {
                "schema": SCHEMA,
                "decision": self.decision,
                "label": self.label,
                "labels": self.labels,
                "picture": {
                    "seq": self.picture_seq,
                    "captured_at": self.captured_at,
                    "width": self.width,
                    "height": self.height,
                    "roi": self.roi,
                    "bytes": self.size_bytes,
                },
                "budget": {"left": round(self.saved.left, 3), "at_ns": self.saved.at_ns},
            }
        )


def read_item(file: Path) -> Item:
    """From the JSON beside a picture.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none of ours, or damaged.
    """
    document = json.loads(file.read_bytes())
    try:
        if document["schema"] != SCHEMA:
            raise ValueError(f"{file} has the schema {document['schema']}, expected is {SCHEMA}")
        decision, picture, budget = document["decision"], document["picture"], document["budget"]
        return Item(
            id=str(decision["id"]),
            line=str(decision["line"]),
            decision=decision,
            label=document["label"],
            labels=tuple(document["labels"]),
            picture_seq=int(picture["seq"]),
            captured_at=str(picture["captured_at"]),
            width=int(picture["width"]),
            height=int(picture["height"]),
            roi=None if picture["roi"] is None else tuple(picture["roi"]),
            size_bytes=int(picture["bytes"]),
            saved=Saved(float(budget["left"]), int(budget["at_ns"])),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is not what was written: {error}") from error
