"""The stream of server-sent events: one document a second for all viewers, made only while there are any."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic_core import to_json

EVERY_S = 1.0
VIEWERS = 48
RETRY_MS = 3000


class Live:
    """Used by the thread `http`.

    Args:
        now: makes the document.
    """

    def __init__(self, now: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._now = now
        self._viewers: set[asyncio.Event] = set()
        self._event = b""
        self._task: asyncio.Task[None] | None = None

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    async def stream(self, request: web.Request, first: dict[str, Any]) -> web.StreamResponse:
        """Serve one viewer until it leaves. Who is slow misses documents and gets the newest one next."""
        if len(self._viewers) >= VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{VIEWERS} viewers are looking already.\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        news = asyncio.Event()
        self._viewers.add(news)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._tell())
        try:
            await response.write(b"retry: %d\n" % RETRY_MS + _event("all", first))
            while True:
                await news.wait()
                news.clear()
                await response.write(self._event)
        except ConnectionError:
            return response
        finally:
            self._viewers.discard(news)

    async def _tell(self) -> None:
        while self._viewers:
            await asyncio.sleep(EVERY_S)
            self._event = _event("now", await self._now())
            for news in self._viewers:
                news.set()

    async def close(self) -> None:
        """No more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task


def _event(name: str, document: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(document))
