"""What is answered, path by path. All paths stand in the table of `routes`: what is asked for never becomes one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from edge.errors import EdgeError
from service.evidence.gallery import Gallery
from service.page.device import LOOK_S, look
from service.page.document import Document
from service.page.gallery import SHOWN, shown
from service.page.live import Live
from service.page.node import Node
from service.page.pace import Pace
from service.page.pictures import Pictures

T = TypeVar("T")
MOST_BYTES = 4096
"""Of the body of a request."""
BODY_S = 5.0
PATIENCE_S = 0.5
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/line.js": ("line.js", "text/javascript"),
    "/gallery.js": ("gallery.js", "text/javascript"),
    "/theme.js": ("theme.js", "text/javascript"),
    "/charts.js": ("charts.js", "text/javascript"),
    "/words.js": ("words.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Of the package, read once."""


class Relabel(BaseModel):
    """The body of a relabelling; None takes it back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: str | None


class Answers:
    """Used by the thread `http`.

    Args:
        node: what there is to see.
        document: what is told of it.
        pictures: of now.
        metrics: what Prometheus gets, and its content type.
        pool: for what waits for a disk.
        pace: charged with what is done there.
    """

    def __init__(
        self,
        node: Node,
        *,
        document: Document,
        pictures: Pictures,
        metrics: tuple[Callable[[], bytes], str],
        pool: ThreadPoolExecutor,
        pace: Pace,
    ) -> None:
        self._node = node
        self._document = document
        self._pictures = pictures
        evidence = node.view.evidence
        self._kept: Gallery | None = evidence if evidence.enabled else None
        self._metrics = metrics
        self._pool = pool
        self._pace = pace
        self._looked_at_s = -LOOK_S
        self.live = Live(self._now)

    def routes(self) -> list[web.RouteDef]:
        """All that there is."""
        folder = files("service.page") / "files"
        fixed = [web.get(path, _always((folder / name).read_bytes(), kind)) for path, (name, kind) in FILES.items()]
        return [
            *fixed,
            web.get("/events", self._events, allow_head=False),
            web.get("/lines/{line}/picture.jpg", self._picture),
            web.get("/evidence", self._items),
            web.get("/evidence/{id}/picture.jpg", self._kept_picture),
            web.get("/evidence/{id}/small.jpg", self._kept_small),
            web.post("/evidence/{id}/label", self._relabel),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._tell_metrics),
        ]

    async def _now(self) -> dict[str, Any]:
        await self._look_at_the_device()
        return {**self._document.now(), "evidence": None if self._kept is None else self._kept.changes}

    async def _events(self, request: web.Request) -> web.StreamResponse:
        await self._look_at_the_device()
        first = {**self._document.first(), "evidence": None if self._kept is None else self._kept.changes}
        return await self.live.stream(request, first)

    async def _look_at_the_device(self) -> None:
        """Now and then; a disk that takes long is not waited for."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._looked_at_s + LOOK_S:
            return
        self._looked_at_s = loop.time()
        looking = asyncio.ensure_future(self._in_pool(look, self._node))
        looking.add_done_callback(self._document.learn)
        await asyncio.wait({looking}, timeout=PATIENCE_S)

    async def _picture(self, request: web.Request) -> web.Response:
        managed = self._node.line(request.match_info["line"])
        if managed is None:
            raise web.HTTPGone(text="There is no such line any more.\n")
        picture = await self._pictures.of(managed.line)
        if picture is None:
            return web.Response(status=204)
        headers = {
            "X-Captured-At-Ms": str(picture.captured_at_ns // 1_000_000),
            "X-Frame-Size": f"{picture.width}x{picture.height}",
        }
        return web.Response(body=picture.jpeg, content_type="image/jpeg", headers=headers)

    async def _items(self, request: web.Request) -> web.Response:
        items = await self._in_pool(self._those_kept().items, request.query.get("line"), SHOWN)
        return _json([shown(item) for item in items])

    async def _kept_picture(self, request: web.Request) -> web.Response:
        return _jpeg(await self._in_pool(self._those_kept().picture, request.match_info["id"]))

    async def _kept_small(self, request: web.Request) -> web.Response:
        return _jpeg(await self._in_pool(self._those_kept().small, request.match_info["id"]))

    async def _relabel(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="Send application/json.\n")
        try:
            asked = Relabel.model_validate_json(await asyncio.wait_for(request.read(), BODY_S))
        except asyncio.TimeoutError:
            raise web.HTTPRequestTimeout(text="The request did not come to its end.\n") from None
        except ValidationError:
            text = 'Send {"label": "scratch"}, or {"label": null} to take it back.\n'
            raise web.HTTPBadRequest(text=text) from None
        kept = self._those_kept()
        item = await self._in_pool(kept.get, request.match_info["id"])
        if item is None:
            raise web.HTTPGone(text="It is not kept any more.\n")
        if asked.label is not None and asked.label not in item.labels:
            labels = ", ".join(item.labels)
            raise web.HTTPUnprocessableEntity(text=f"The model does not know this label: its labels are {labels}\n")
        try:
            return _json(shown(await self._in_pool(kept.relabel, item.id, asked.label)))
        except EdgeError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error

    async def _healthz(self, _request: web.Request) -> web.Response:
        wrong = self._node.hang()
        return web.Response(text=f"{wrong}\n" if wrong else "ok\n", status=503 if wrong else 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        states = [(managed.line.name, managed.line.status) for managed in self._node.view.lines()]
        wrong = [f"{name} {status.state}: {status.reason}" for name, status in states if status.state != "inspecting"]
        return web.Response(text="\n".join([*(wrong or ["ok"]), ""]), status=503 if wrong else 200)

    async def _tell_metrics(self, _request: web.Request) -> web.Response:
        render, content_type = self._metrics
        return web.Response(body=await self._in_pool(render), headers={"Content-Type": content_type})

    def _those_kept(self) -> Gallery:
        if self._kept is None:
            raise web.HTTPGone(text="No evidence is kept.\n")
        return self._kept

    async def _in_pool(self, call: Callable[..., T], *args: Any) -> T:
        answer, cpu_s = await asyncio.get_running_loop().run_in_executor(self._pool, _measured, partial(call, *args))
        self._pace.charge(cpu_s)
        return answer


def _measured(call: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and the processor time that it took, in seconds."""
    begin_s = time.thread_time()
    answer = call()
    return answer, time.thread_time() - begin_s


def _always(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return answer


def _json(document: object) -> web.Response:
    return web.Response(body=to_json(document), content_type="application/json")


def _jpeg(jpeg: bytes | None) -> web.Response:
    if jpeg is None:
        raise web.HTTPGone(text="It is not kept any more.\n")
    # It stays the same for ever: nobody needs to ask twice.
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return web.Response(body=jpeg, content_type="image/jpeg", headers=headers)
