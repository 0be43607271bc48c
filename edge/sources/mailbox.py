"""Between a file and the pipeline: frames that are decoded while the ones before are inspected.

    capture thread --room, read, put--> [waiting] --take--> inspecting thread

A few wait, none is lost, and the capture thread waits for room. The source writes straight into the buffers, which take
turns: nothing is copied, and nothing is allocated while pictures keep their size. The newest frame of a live source
waits in `edge/sources/reader.py`.
"""

from collections import deque
from threading import Condition

from edge.errors import EdgeError
from edge.frame import Frame, Image

AHEAD = 2
"""Frames that wait, decoded, while one is inspected."""


class Mailbox:
    """`room`, `put`, `fail` and `end` belong to the capture thread, `take` and `close` to the inspecting one.

    Args:
        ahead: frames that may wait.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._ahead = ahead
        self._changed = Condition()
        self._waiting: deque[Frame | EdgeError | None] = deque()
        self._free: list[Image] = []
        self._being_inspected: Image | None = None
        self._closed = False

    def room(self) -> bool:
        """Wait until a frame may be read; False when none is wanted any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._ahead)
            return not self._closed

    def buffer(self) -> Image | None:
        """Where to read the next frame into; None: wherever the source likes."""
        with self._changed:
            return self._free.pop() if self._free else None

    def put(self, frame: Frame) -> None:
        """Hand over `frame` with its image."""
        with self._changed:
            self._waiting.append(frame)
            self._changed.notify_all()

    def fail(self, error: EdgeError) -> None:
        """Hand an error of the source to whoever takes next, after the frames that came before it."""
        with self._changed:
            self._waiting.append(error)
            self._changed.notify_all()

    def end(self) -> None:
        """No more frames will come."""
        with self._changed:
            self._waiting.append(None)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> Frame | None:
        """The next frame, at once or as soon as there is one; None at the end.

        Its image is valid until the next call.

        Raises:
            EdgeError: what the capture thread handed over with `fail`.
            TimeoutError: nothing came within `timeout_s`.
        """
        with self._changed:
            self._release()
            if not self._changed.wait_for(lambda: self._waiting, timeout_s):
                raise TimeoutError(f"no frame within {timeout_s} s")
            item = self._waiting.popleft()
            self._changed.notify_all()
            if isinstance(item, EdgeError):
                raise item
            if item is None:
                self._waiting.append(None)  # the end stays the end
                return None
            self._being_inspected = item.image
            return item

    def close(self) -> None:
        """No more frames are wanted: whoever waits for room is told so, and what waits is let go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def open(self) -> None:
        """Begin, or begin again, when the capture thread does not run."""
        with self._changed:
            self._closed = False
            self._release()
            self._free += [item.image for item in self._waiting if isinstance(item, Frame)]
            self._waiting.clear()

    def _release(self) -> None:
        if self._being_inspected is not None:
            self._free.append(self._being_inspected)
            self._being_inspected = None
