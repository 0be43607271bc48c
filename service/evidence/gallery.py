"""What is kept, for those who look at it: the newest pictures, and what a person says about them."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from service.evidence.item import Item
from service.evidence.picture import decoded, small
from service.evidence.ring import Ring

SMALL_KEPT = 200
"""Small pictures in memory, some kilobytes each."""


class Gallery:
    """Any thread may use it.

    Args:
        ring: the folder.
    """

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._news = threading.Condition()
        self._small: OrderedDict[str, bytes] = OrderedDict()
        self._listeners: list[Callable[[], None]] = []
        self.changes = 0
        """Grows with everything that is kept or labelled."""

    def items(self, line: str | None = None, limit: int = 50, before: str | None = None) -> list[Item]:
        """What is kept, the newest first.

        Args:
            line: of this one alone.
            limit: at most so many.
            before: older than the one with this id.
        """
        return list(islice(self._ring.items(line, before), limit))

    def get(self, item_id: str) -> Item | None:
        """The one with that id; None when it is not there (any more)."""
        return self._ring.get(item_id)

    def picture(self, item_id: str) -> bytes | None:
        """Its JPEG, as large as the frame."""
        return self._ring.picture(item_id)

    def small(self, item_id: str) -> bytes | None:
        """Its JPEG, for a gallery."""
        with self._news:
            if (kept := self._small.get(item_id)) is not None:
                return kept
        data = self._ring.picture(item_id)
        image = decoded(data) if data is not None else None
        if image is None:
            return None
        made = small(image)
        with self._news:
            self._small[item_id] = made
            while len(self._small) > SMALL_KEPT:
                self._small.popitem(last=False)
        return made

    def relabel(self, item_id: str, label: str | None) -> Item:
        """Note what a person says that a picture shows; None takes it back. It is on disk when this returns.

        Raises:
            EvidenceError: it is not there, the model knows no such label, or the disk takes nothing.
        """
        item = self._ring.relabel(item_id, label)
        self._tell()
        return item

    def wait_for_change(self, since: int, timeout_s: float) -> int:
        """Wait until `changes` is not `since`; what it is then, or after that time."""
        with self._news:
            self._news.wait_for(lambda: self.changes != since, timeout_s)
            return self.changes

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have it called with every change, by whichever thread makes it; how to have that end."""
        with self._news:
            self._listeners.append(callback)

        def remove() -> None:
            with self._news:
                self._listeners.remove(callback)

        return remove

    def _tell(self) -> None:
        with self._news:
            self.changes += 1
            self._news.notify_all()
            listeners = list(self._listeners)
        for callback in listeners:
            callback()
