"""`mqtt.host: embedded`: a broker inside the daemon, for trying things out. It keeps nothing and checks nobody."""

import asyncio
import logging
import socket
import threading
from typing import Any

from amqtt.broker import Broker

from edge.errors import PermanentError

log = logging.getLogger(__name__)

START_TIMEOUT_S = 10.0


class EmbeddedBrokerError(PermanentError):
    """The embedded broker could not start."""


class EmbeddedBroker:
    """An amqtt broker on the loopback interface, with an event loop and a thread of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded-broker", daemon=True)
        self._broker: Broker | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            EmbeddedBrokerError: the port is taken.
        """
        # Asked first: the library reports a taken port as a long chain of its own errors.
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._port))
            except OSError as error:
                raise EmbeddedBrokerError(
                    f"port {self._port} is taken ({error.strerror}): another broker may be running; "
                    "name it in mqtt.host, or set another mqtt.port for the embedded one"
                ) from error
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        self._loop.set_exception_handler(_tell)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(START_TIMEOUT_S)

    def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._broker is not None:
            asyncio.run_coroutine_threadsafe(self._broker.shutdown(), self._loop).result(START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _start(self) -> None:
        self._broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self._port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        await self._broker.start()


def _tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong with one client, such as a subscriber that left without acknowledging, in one line."""
    log.info("embedded broker: %s", context.get("exception") or context["message"])
