"""The mailbox between a live source and the pipeline: one slot, the newest frame wins, drops are counted.

    capture thread --put--> [slot] --take--> inspecting thread

Three frame buffers rotate (one being written, one waiting, one being inspected), so that a frame is copied once
and nothing is allocated while the camera keeps its picture size.
"""

from dataclasses import replace
from threading import Condition

import numpy as np

from edge.errors import EdgeError
from edge.frame import Frame, Image


class LatestFrame:
    """A slot for one frame. `put`, `fail` and `end` belong to the capture thread, `take` to the inspecting one."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._slot: Frame | None = None
        self._error: EdgeError | None = None
        self._ended = False
        self._free: list[Image] = []
        self._being_inspected: Image | None = None
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Keep a copy of `frame`; the one that nobody took is dropped and counted."""
        buffer = self._buffer_like(frame.image)
        np.copyto(buffer, frame.image)
        with self._changed:
            if self._slot is not None:
                self._free.append(self._slot.image)
                self.dropped += 1
            self._slot = replace(frame, image=buffer)
            self._changed.notify()

    def fail(self, error: EdgeError) -> None:
        """Hand an error of the source to whoever takes next."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def end(self) -> None:
        """No more frames will come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self, timeout_s: float) -> Frame | None:
        """The newest frame, at once or as soon as there is one; None at the end.

        Its image is valid until the next call.

        Raises:
            EdgeError: what the capture thread handed over with `fail`.
            TimeoutError: nothing came within `timeout_s`.
        """
        with self._changed:
            if self._being_inspected is not None:
                self._free.append(self._being_inspected)
                self._being_inspected = None
            self._changed.wait_for(lambda: self._slot or self._error or self._ended, timeout_s)
            if self._slot is not None:
                frame, self._slot = self._slot, None
                self._being_inspected = frame.image
                return frame
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._ended:
                return None
            raise TimeoutError(f"no frame within {timeout_s} s")

    def _buffer_like(self, image: Image) -> Image:
        with self._changed:
            while self._free:
                buffer = self._free.pop()
                if buffer.shape == image.shape:
                    return buffer  # one of another size belonged to an earlier picture format: let it go
        return np.empty_like(image)
