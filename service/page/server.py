"""The thread `http`: the status page and what else is told over HTTP, beside the lines and never in their way."""

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from edge.errors import EdgeError, PermanentError
from service.announcer import HEARTBEAT_S
from service.http_section import HttpSection, address_of
from service.page.answers import MOST_BYTES, Answers
from service.page.charts import Charts
from service.page.document import Document
from service.page.door import ASKING_S, Door
from service.page.guard import Guard, add_headers
from service.page.node import Node
from service.page.pace import Pace
from service.page.pictures import Pictures
from service.page.refusals import Refusals

log = logging.getLogger(__name__)

RETRY_S = 5.0
"""The address may be taken, or not be there yet."""
SAVE_S = 60.0
LONGEST_LINE = 8190
"""Of the head of a request, bytes."""
BACKLOG = 256
STOP_S = 5.0


class Server:
    """Owns the thread.

    Args:
        section: what the configuration says.
        node: what there is to see.
        metrics: what Prometheus gets, and its content type.
    """

    def __init__(
        self,
        section: HttpSection,
        node: Node,
        metrics: tuple[Callable[[], bytes], str],
    ) -> None:
        self._section = section
        self._node = node
        self._metrics = metrics
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._jpeg = ThreadPoolExecutor(1, "http-jpeg", _show_as, ("http-jpeg",))
        self._disk = ThreadPoolExecutor(2, "http-disk", _show_as, ("http-disk",))
        self._thread = threading.Thread(target=self._run, name="http")
        self.problem = ""
        """Why there is no page, one sentence; empty when there is one."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and keep what was counted."""
        self._stopping.set()
        with suppress(RuntimeError):  # it has ended by itself
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._woken.set)
        self._thread.join(STOP_S)
        for pool in (self._jpeg, self._disk):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def hangs(self) -> bool:
        """Whether a thread of it did not end, because a disk does not answer."""
        pools = (*self._jpeg._threads, *self._disk._threads)  # noqa: SLF001  # there is no other way to know
        return self._thread.is_alive() or any(thread.is_alive() for thread in pools)

    def _run(self) -> None:
        _show_as("http")
        try:
            asyncio.run(self._serve())
        except EdgeError as error:
            self._has_none(f"there is no status page: {error}")
        except Exception:
            log.exception("the status page has ended: a mistake in edgecls, please report it")
            self.problem = "the status page has ended: see the log"

    async def _serve(self) -> None:
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        refusals, charts, pace = Refusals(), Charts(), Pace()
        answers = Answers(
            self._node,
            document=Document(self._node, charts),
            pictures=Pictures(self._jpeg),
            metrics=self._metrics,
            pool=self._disk,
            pace=pace,
        )
        doors: list[Door] = []
        guard = Guard(self._section, self._node.settings.node, refusals)
        app = web.Application(middlewares=[guard.middleware(lambda: doors[0])], client_max_size=MOST_BYTES)
        app.add_routes(answers.routes())
        app.on_response_prepare.append(add_headers)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=refusals.logger(),
            keepalive_timeout=2 * ASKING_S,  # the door is quicker, and says so
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            read_bufsize=4 * MOST_BYTES,
            auto_decompress=False,
            lingering_time=1.0,
            handler_cancellation=True,
            shutdown_timeout=0.5,
        )
        await runner.setup()
        assert runner.server is not None  # noqa: S101  # it was set up
        doors.append(Door(runner.server, _tls(self._section), refusals, pace))
        if (listener := await self._listen()) is None:
            return
        works = (doors[0].accept(listener), doors[0].look_around(), self._beat(charts), self._woken.wait())
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            listener.close()
            doors[0].close()
            for task in tasks:
                task.cancel()
            await runner.cleanup()
            self._node.shift.save()

    async def _listen(self) -> socket.socket | None:
        """The socket; None when it is time to end."""
        host, port = address_of(self._section.listen)
        while not self._stopping.is_set():
            try:
                listener = socket.create_server(
                    (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
                )
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                self._has_none(f"no status page on {self._section.listen}: {why}; trying again")
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), RETRY_S)
                continue
            listener.setblocking(False)
            self.problem = ""
            scheme = "https" if self._section.tls else "http"
            log.info("status page: %s://%s", scheme, self._section.listen)
            return listener
        return None

    async def _beat(self, charts: Charts) -> None:
        """What goes on while nobody looks: next to nothing."""
        loop = asyncio.get_running_loop()
        save_s = loop.time() + SAVE_S
        while True:
            charts.note(self._node.view.lines(), self._node.clock.now_ns() // 1_000_000)
            await asyncio.sleep(HEARTBEAT_S)
            if loop.time() >= save_s:
                save_s = loop.time() + SAVE_S
                await loop.run_in_executor(self._disk, self._node.shift.save)

    def _has_none(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            log.error("%s", problem)


def _show_as(name: str) -> None:
    """What `top -H` calls the thread that calls this; Python tells the kernel by itself from 3.14 on."""
    with suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name, encoding="ascii")


def _tls(section: HttpSection) -> ssl.SSLContext | None:
    if section.tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password given OpenSSL asks for it on the terminal.
        context.load_cert_chain(section.tls.cert_file, section.tls.key_file, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        files = f"{section.tls.cert_file} and {section.tls.key_file}"
        raise PermanentError(f"http.tls: {files} cannot be used ({reason}): give a certificate and its key") from error
    return context
