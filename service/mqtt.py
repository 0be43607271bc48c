"""The connection to a broker, kept up for ever: MQTT 5 with a fall-back to 3.1.1.

The thread `mqtt` makes one `Session` after the other; whatever goes wrong ends a session alone. A session of MQTT is
always new and never outlives its connection: what we send is kept in the outbox, and a trigger that was sent while we
were away must not be answered late, with the picture of another part.
"""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from service.mqtt_login import REDIRECTS, SESSION_TAKEN_OVER, UNSUPPORTED_PROTOCOL, MqttError, where_is, why_unreachable
from service.mqtt_packets import JSON, Incoming, Will
from service.mqtt_session import GOODBYE_S, OnMessage, Session
from service.mqtt_window import Window
from service.sections import MqttSection

__all__ = ["Incoming", "MqttConnection", "MqttError", "Will"]

log = logging.getLogger(__name__)

KEEPALIVE_S = 20
"""A broker that has fallen silent is given up after two of these at the latest."""
SILENCE_S = 60.0
"""So long may a message wait for its acknowledgement before a new connection is tried."""
LONGEST_DELAY_S = 20.0
"""Between two attempts; up to twice as long by chance: a fleet must not come back in step."""
STEADY_S = 5.0
"""A connection that lasted so long was a good one, and the next attempt comes soon."""
MANY = 3
"""So many connections in a row that did not: there is something wrong that trying soon does not mend."""
DEAF_S = 300.0
"""So long nothing is subscribed to after somebody has sent us a packet that is too large to be read."""
JOIN_S = GOODBYE_S + 10.0


class MqttConnection:
    """A connection to one broker.

    Args:
        settings: where the broker is and how to log in.
        client_id: the same after a restart, so that the broker recognises us: `edgecls-` and the node.
        will: retained, QoS 1.
        in_flight: how many QoS 1 messages may wait for an acknowledgement at a time.
        on_change: called from the thread `mqtt` after a connect, a disconnect and an acknowledgement; it must not
            block.
        keepalive_s: whole seconds between signs of life.
        silence_s: how long a message may wait for its acknowledgement.

    Raises:
        MqttError: a certificate or password file cannot be read.
    """

    def __init__(
        self,
        settings: MqttSection,
        client_id: str,
        will: Will,
        in_flight: int,
        on_change: Callable[[], None],
        *,
        keepalive_s: int = KEEPALIVE_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._on_change = on_change
        self._keepalive_s = keepalive_s
        self._silence_s = silence_s
        self._window = Window(in_flight)
        self._subscriptions: dict[str, OnMessage] = {}
        self._deaf_until = 0.0
        self._short = 0
        self._accepted = False
        self._connections = 0
        self._once_accepted = threading.Event()
        self._problem = f"not connected to broker {self.where} yet"
        self._told = ""
        # The embedded broker speaks 3.1.1 alone, and chokes on a CONNECT of MQTT 5 that carries a will.
        self._use_3_1_1 = settings.host == "embedded"
        self._ending = threading.Event()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._thread = threading.Thread(target=self._keep_up, name="mqtt", daemon=True)
        self._session = self._make_session()  # what can never work is told at once

    @property
    def where(self) -> str:
        """The broker as people write it."""
        return where_is(self._settings)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and is still there, as far as we know."""
        return self._accepted

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs: it does from `start` to `stop`, unless something is badly wrong."""
        return self._thread.is_alive()

    @property
    def problem(self) -> str:
        """Why there is no connection, in one sentence; empty when there is one."""
        return "" if self._accepted else self._problem

    @property
    def connections(self) -> int:
        """How often the broker has accepted us since the start."""
        return self._connections

    @property
    def window(self) -> int:
        """How many QoS 1 messages may be in flight now: our own limit, or the broker's when that is lower."""
        return self._window.size

    @property
    def largest(self) -> int | None:
        """The largest packet in bytes that the broker takes; None when it has set no limit."""
        return self._session.largest

    def wait_for_the_first(self, timeout_s: float) -> bool:
        """Whether the broker accepts us within `timeout_s`, or has done so before."""
        return self._once_accepted.wait(timeout_s)

    def start(self) -> None:
        """Connect in the background, and go on trying."""
        self._thread.start()

    def subscribe(self, topic: str, on_message: Callable[[Incoming], None]) -> None:
        """Have `on_message` called, in the thread `mqtt`, for what is sent to `topic` from now on.

        Retained messages are passed over: they are from another time. Whoever was called before is called no more.

        Args:
            topic: without wildcards.
            on_message: must not block. What it raises is logged.
        """
        self._subscriptions[topic] = on_message
        self._wake()

    def unsubscribe(self, topic: str) -> None:
        """What is sent to `topic` is of no interest any more."""
        self._subscriptions.pop(topic, None)
        self._wake()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        correlation: bytes | None = None,
        expiry_s: int | None = None,
        content_type: str = JSON,
        at_once: bool = True,
    ) -> int | None:
        """Take a message; a number to recognise it by, or None when it was not taken: QoS 0 needs a connection.

        A QoS 1 message is sent, again after a reconnect if need be, until the broker has accepted or refused it.

        Args:
            topic: without wildcards.
            payload: JSON, or what `content_type` says.
            qos: 0 or 1.
            retain: whether the broker keeps it for those who subscribe later.
            correlation: correlation data, up to 65535 bytes; MQTT 5 only.
            expiry_s: for how long the broker may keep it for somebody who is away; MQTT 5 only.
            content_type: MQTT 5 only.
            at_once: whether it leaves now, or with others when `send` is called.
        """
        if not qos and not self._accepted:
            return None
        expires_at = None if expiry_s is None else time.monotonic() + expiry_s
        handle = self._window.put(
            topic,
            payload,
            qos=qos,
            retain=retain,
            correlation=correlation,
            expires_at=expires_at,
            content_type=content_type,
        )
        if at_once:
            self._wake()
        return handle

    def send(self) -> None:
        """Have everything leave that was taken."""
        self._wake()

    def take_acknowledged(self) -> tuple[set[int], set[int]]:
        """The messages that the broker has accepted since the last call, and those that it has refused.

        A message larger than `largest` counts as refused.
        """
        return self._window.take_answers()

    def stop(self) -> None:
        """Say goodbye (so that the broker drops the will) and end the thread."""
        self._ending.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)  # it may be in the middle of connecting
        self._woken.close()
        self._waker.close()

    def _wake(self) -> None:
        with suppress(OSError):  # full: then the thread wakes anyhow; or closed
            self._waker.send(b"x")

    def _make_session(self) -> Session:
        return Session(
            self._settings,
            self._client_id,
            self._will,
            window=self._window,
            subscriptions=self._subscriptions,
            on_change=self._on_change,
            on_accept=self._accept,
            use_3_1_1=self._use_3_1_1,
            subscribe_from=self._deaf_until,
        )

    def _keep_up(self) -> None:
        delay_s = 1.0
        while not self._ending.is_set():
            session = self._attempt()
            if session is not None:
                if session.refused_with == UNSUPPORTED_PROTOCOL and not self._use_3_1_1:
                    self._use_3_1_1 = True
                    continue
                if session.was_flooded:
                    self._deaf_until = time.monotonic() + DEAF_S
                if session.accepted_at is not None and not self._short:
                    delay_s = 1.0
                if session.ended_with in (SESSION_TAKEN_OVER, *REDIRECTS) or self._short >= MANY:
                    delay_s = LONGEST_DELAY_S
            self._ending.wait(delay_s * random.uniform(1, 2))
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    def _attempt(self) -> Session | None:
        """One connection from beginning to end; None when there was none."""
        session = None
        try:
            # Certificates and the password are read each time, so that they can be renewed without a restart.
            session = self._session = self._make_session()
            problem = session.run(self._keepalive_s, self._silence_s, self._ending, self._woken)
        except MqttError as error:
            problem = str(error)
        except (OSError, UnicodeError) as error:
            problem = why_unreachable(error, self._settings)
        except Exception:
            log.exception("the connection to broker %s failed in a way that was not foreseen", self.where)
            problem = f"the connection to broker {self.where} failed: see the log"
        self._accepted = False
        if session is not None and session.accepted_at is not None:
            self._short = self._short + 1 if time.monotonic() - session.accepted_at < STEADY_S else 0
            if self._short >= MANY and session.ended_with != SESSION_TAKEN_OVER:
                # Not every broker says that somebody else has taken our place.
                problem += (
                    "; it ends soon after each beginning: see its log, and make sure that no other device is "
                    f"connected as {self._client_id}, which is made of node"
                )
        self._problem = problem
        falls_back = session is not None and session.refused_with == UNSUPPORTED_PROTOCOL and not self._use_3_1_1
        if not self._ending.is_set() and not falls_back:
            self._say(problem, logging.WARNING)
        self._on_change()
        return session

    def _accept(self) -> None:
        self._accepted = True
        self._connections += 1
        self._once_accepted.set()
        self._say(f"connected to broker {self.where}{' with MQTT 3.1.1' if self._use_3_1_1 else ''}", logging.INFO)
        self._on_change()

    def _say(self, text: str, level: int) -> None:
        # A broker that is away for a weekend gives one line in the log, not one per attempt.
        if text != self._told:
            log.log(level, "%s", text)
            self._told = text
