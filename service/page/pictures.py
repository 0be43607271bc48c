"""Live pictures: taken, scaled and encoded only when somebody asks, and once for all who ask at the same time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import cv2

from service.glimpse import Sight
from service.line import Line

QUALITY = 75
"""Of the JPEG, of 100."""
FRESH_S = 0.2
"""A picture as young as this is shown to the next one who asks: five a second are made at most."""
PATIENCE_S = 2.0
"""A line that waits, or whose engine has failed, inspects no frame."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG file and what it shows; `width` and `height` are those of the frame, which it is smaller than."""

    jpeg: bytes
    width: int
    height: int
    captured_at_ns: int


class Pictures:
    """Of all lines. Used by the thread `http`; pictures are encoded in the thread of `pool`.

    Args:
        pool: has one thread.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._made: dict[Line, asyncio.Task[Picture | None]] = {}

    async def of(self, line: Line) -> Picture | None:
        """The picture of now, None when the line inspects nothing."""
        task = self._made.get(line)
        if task is None:
            loop = asyncio.get_running_loop()
            task = self._made[line] = loop.create_task(self._make(line))
            task.add_done_callback(lambda _: loop.call_later(FRESH_S, self._made.pop, line, None))
        return await asyncio.shield(task)

    async def _make(self, line: Line) -> Picture | None:
        loop = asyncio.get_running_loop()
        taken: asyncio.Future[Sight] = loop.create_future()
        line.glimpse.ask(_across(loop, taken))
        try:
            sight = await asyncio.wait_for(taken, PATIENCE_S)
        except asyncio.TimeoutError:  # not the builtin one before Python 3.11
            return None
        return await loop.run_in_executor(self._pool, _encode, sight)


def _across(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Sight]") -> Callable[[Sight], None]:
    """What the inspecting thread calls; it must not be held up by a loop that has ended."""

    def answer(sight: Sight) -> None:
        try:
            loop.call_soon_threadsafe(partial(_settle, future, sight))
        except RuntimeError:
            return

    return answer


def _settle(future: "asyncio.Future[Sight]", sight: Sight) -> None:
    if not future.done():
        future.set_result(sight)


def _encode(sight: Sight) -> Picture:
    _, encoded = cv2.imencode(".jpg", sight.image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    return Picture(encoded.tobytes(), sight.width, sight.height, sight.captured_at_ns)
