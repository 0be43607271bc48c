"""The rejects and reviews that are kept, as the page shows them."""

from service.evidence.item import Item
from service.messages import Json

SHOWN = 24


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
        "size": [item.width, item.height],
        "roi": item.roi,
        "labels": item.labels,
        "model": decision["model"],
        "relabelled": item.label,
    }
