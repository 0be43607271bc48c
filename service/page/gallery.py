"""The rejects and reviews that are kept, as the page shows them; and what people say that they are."""

from collections.abc import Sequence
from typing import Any, Protocol

Json = dict[str, Any]

SHOWN = 24


class Item(Protocol):
    """One that is kept."""

    @property
    def id(self) -> str:
        """Of its decision."""

    @property
    def line(self) -> str:
        """Its line."""

    @property
    def decision(self) -> Json:
        """The message on `defects`."""

    @property
    def label(self) -> str | None:
        """What a person has said since."""


class Kept(Protocol):
    """All of them. A look at the disk may take long."""

    @property
    def changes(self) -> int:
        """Grows with everything that is kept or relabelled."""

    def items(self, line: str | None = None, limit: int = SHOWN) -> Sequence[Item]:
        """The newest first."""

    def get(self, id_: str, /) -> Item | None:
        """None: not there, or not any more."""

    def picture(self, id_: str, /) -> bytes | None:
        """JPEG."""

    def small(self, id_: str, /) -> bytes | None:
        """JPEG, 320 pixels wide at most."""

    def relabel(self, id_: str, label: str | None, /) -> Item:
        """None takes it back.

        Raises:
            EdgeError: that cannot be done; one sentence.
        """


def shown(item: Item) -> Json:
    """One of them, for the page."""
    decision = item.decision
    return {
        "id": item.id,
        "line": item.line,
        "at": decision["ts"],
        "part": decision["part"],
        "verdict": decision["verdict"],
        "label": decision["label"],
        "score": decision["score"],
        "scores": decision["scores"],
        "reason": decision.get("reason", ""),
        "regions": decision.get("regions", []),
        "frame": decision["frame"],
        "model": decision["model"],
        "relabelled": item.label,
    }
