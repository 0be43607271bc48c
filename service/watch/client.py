"""The subscriber's own connection: MQTT 5 with a fall-back to 3.1.1, a random client id, no will, no publishing.

paho's thread puts what it hears into a bounded queue; when that is full paho waits, and the broker queues for us.
"""

import contextlib
import queue
import secrets
import sys
import threading
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import PermanentError
from service.mqtt_login import log_in
from service.sections import MqttSection
from service.watch.reading import MAX_BYTES, clean

KEEPALIVE_S = 30
RECONNECT_S = (1, 5)
QUEUED = 2000
UNSUPPORTED_PROTOCOL = "Unsupported protocol version"
WRONG_LOGIN = {"Bad user name or password", "Not authorized", "Bad authentication method", "Banned"}


class LoginError(PermanentError):
    """The broker does not let us in as we are."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message. Of one that is too large only as much of the payload as shows that."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Link:
    """What happened to the connection."""

    connected: bool
    text: str


class Client:
    """A connection that listens to topics until it is closed.

    Args:
        settings: where the broker is and how to log in.
        filters: what to subscribe to.

    Raises:
        MqttError: a certificate or password file cannot be read.
    """

    def __init__(self, settings: MqttSection, filters: list[str]) -> None:
        embedded = settings.host == "embedded"
        self.where = f"{'127.0.0.1' if embedded else settings.host}:{settings.port_or_default}"
        self._settings = settings
        self._filters = filters
        self._heard: queue.Queue[Heard | Link | LoginError] = queue.Queue(QUEUED)
        self._closed = threading.Event()
        self._accepted = False
        self._told = ""
        self._refused_5 = threading.Event()
        self._client = self._make(MQTTProtocolVersion.MQTTv311 if embedded else MQTTProtocolVersion.MQTTv5)

    def next(self, timeout_s: float) -> Heard | Link | None:
        """What was heard next, or None when there is nothing within `timeout_s`.

        Raises:
            LoginError: the broker refuses the login, at the first attempt.
        """
        if self._refused_5.is_set() and self._client.protocol == MQTTProtocolVersion.MQTTv5:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = self._make(MQTTProtocolVersion.MQTTv311)
        try:
            heard = self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(heard, LoginError):
            raise heard
        return heard

    def listen_to(self, filters: list[str]) -> None:
        """Subscribe to these, too."""
        new = [one for one in filters if one not in self._filters]
        self._filters += new
        if new and self._client.is_connected():
            self._client.subscribe([(one, 1) for one in new])

    def close(self) -> None:
        """Say goodbye and end paho's thread."""
        self._closed.set()
        self._client.disconnect()
        self._client.loop_stop()

    def _make(self, protocol: MQTTProtocolVersion) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edgecls-watch-{secrets.token_hex(6)}",  # never the daemon's: the broker would throw it out
            protocol=protocol,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else True,
        )
        client.reconnect_delay_set(*RECONNECT_S)
        log_in(client, self._settings)
        client.on_connect = self._connected
        client.on_connect_fail = self._not_connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._message
        host = "127.0.0.1" if self._settings.host == "embedded" else self._settings.host
        client.connect_async(host, self._settings.port_or_default, KEEPALIVE_S)
        client.loop_start()
        return client

    def _put(self, heard: Heard | Link | LoginError) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._heard.put(heard, timeout=0.5)
                return

    def _tell(self, text: str, *, connected: bool = False) -> None:
        if text != self._told:  # once, not once per attempt
            self._told = text
            self._put(Link(connected, text))

    def _connected(
        self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        name = reason.getName()
        if not reason.is_failure:
            self._accepted = True
            self._tell(f"connected to broker {self.where}", connected=True)
            if self._filters:
                client.subscribe([(one, 1) for one in self._filters])
        elif name == UNSUPPORTED_PROTOCOL and client.protocol == MQTTProtocolVersion.MQTTv5:
            self._refused_5.set()
        elif name in WRONG_LOGIN and not self._accepted:
            remedy = "check mqtt.username and mqtt.password_file of the configuration"
            self._put(LoginError(f"broker {self.where} refuses the login ({name}): {remedy}"))
        else:
            self._tell(f"broker {self.where} refuses us ({name}): trying again")

    def _not_connected(self, _client: paho.Client, _data: Any) -> None:
        # paho calls this while it handles the error, and does not pass it on.
        error = sys.exc_info()[1]
        why = f" ({clean(getattr(error, 'strerror', None) or str(error), 120)})" if error else ""
        self._tell(f"broker {self.where} does not answer{why}: trying again")

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if self._told.startswith("connected") and not self._closed.is_set() and not self._refused_5.is_set():
            why = "" if reason.getName() == "Unspecified error" else f" ({reason})"
            self._tell(f"lost broker {self.where}{why}: trying again")

    def _subscribed(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        for reason in {reason.getName() for reason in reasons if reason.is_failure}:
            self._put(Link(True, f"broker {self.where} refuses a subscription ({reason}): check its access rules"))

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"
        self._put(Heard(topic, bytes(message.payload[: MAX_BYTES + 1]), message.retain))
