"""A broker, greeted as the daemon would: the same credentials, another client id, no last will, nothing published."""

import secrets
import select
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import EdgeError
from service.mqtt_client import Client
from service.mqtt_login import UNSUPPORTED_PROTOCOL, log_in, where_is, why_refused, why_unanswered
from service.sections import MqttSection

TIMEOUT_S = 8.0
"""For the answer to CONNECT, and again for that to SUBSCRIBE."""


class RefusedError(EdgeError):
    """There is a connection, and no welcome: one sentence with its remedy."""


@dataclass(slots=True)
class Welcome:
    """What came out of it.

    Attributes:
        version: of MQTT: 5 or 3.1.1.
        connect_ms: until the broker has accepted us: name, connection, TLS and login.
        round_trip_ms: from a SUBSCRIBE to its answer; None when none came.
        refused: the topics that may not be read, with the reason.
        certificate_ends_s: when the broker's certificate expires, seconds since 1970; None without TLS.
        limits: what the broker allows, where it says so.
    """

    version: str
    connect_ms: float = 0.0
    round_trip_ms: float | None = None
    refused: dict[str, str] = field(default_factory=dict)
    certificate_ends_s: float | None = None
    limits: dict[str, int] = field(default_factory=dict)


def greet(settings: MqttSection, topics: list[str], timeout_s: float = TIMEOUT_S) -> Welcome:
    """Connect with MQTT 5, with 3.1.1 where that is all the broker knows, and subscribe for a moment.

    Args:
        settings: where the broker is and how to log in.
        topics: what to subscribe to, without wildcards.
        timeout_s: for each answer.

    Raises:
        OSError, UnicodeError: there is no connection.
        MqttError: a certificate or password file cannot be read.
        RefusedError: the broker does not let us in.
    """
    if settings.host != "embedded":
        try:
            return _Greeting(settings, topics, timeout_s, is_5=True).run()
        except _TooNewError:
            pass
    return _Greeting(settings, topics, timeout_s, is_5=False).run()


class _TooNewError(Exception):
    """The broker does not know MQTT 5."""


class _Greeting:
    def __init__(self, settings: MqttSection, topics: list[str], timeout_s: float, *, is_5: bool) -> None:
        self._settings = settings
        self._topics = topics
        self._timeout_s = timeout_s
        self._welcome = Welcome("5" if is_5 else "3.1.1")
        self._reason: ReasonCode | None = None
        self._accepted = False
        self._wrong = ""
        self._too_new = False
        self._asked: dict[int | None, str] = {}
        self._client = Client(
            lambda _mid, _reason: None,
            CallbackAPIVersion.VERSION2,
            client_id=f"edgecls-doctor-{secrets.token_hex(6)}",  # never the daemon's: the broker would throw it out
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if is_5 else True,
            reconnect_on_failure=False,
        )
        log_in(self._client, settings)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_subscribe = self._subscribed

    def run(self) -> Welcome:
        begin = time.monotonic()
        host = "127.0.0.1" if self._settings.host == "embedded" else self._settings.host
        try:
            self._client.connect(host, self._settings.port_or_default, keepalive=int(TIMEOUT_S))
            sock = self._client.socket()
            certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
            if certificate and "notAfter" in certificate:
                self._welcome.certificate_ends_s = float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
            self._serve(lambda: self._accepted or bool(self._wrong) or self._too_new)
            if self._too_new:
                raise _TooNewError
            if not self._accepted:
                raise RefusedError(self._wrong or self._unanswered())
            self._welcome.connect_ms = round((time.monotonic() - begin) * 1e3, 1)
            self._subscribe()
        finally:
            self._client.disconnect()
            left = self._client.socket()
            if left is not None:
                left.close()
        return self._welcome

    def _subscribe(self) -> None:
        for topic in self._topics:
            begin = time.monotonic()
            _, mid = self._client.subscribe(topic, qos=1)
            self._asked[mid] = topic
            self._serve(lambda: not self._asked)
            if not self._asked:
                took = round((time.monotonic() - begin) * 1e3, 1)
                self._welcome.round_trip_ms = min(took, self._welcome.round_trip_ms or took)

    def _serve(self, done: Any) -> None:
        """Let paho work until `done()`, the end of the connection, or the time is up."""
        until = time.monotonic() + self._timeout_s
        while not done() and time.monotonic() < until:
            sock = self._client.socket()
            if sock is None:
                return
            decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
            writers = [sock] if self._client.want_write() else []
            readable, writable, _ = select.select([sock], writers, [], 0 if decrypted else 0.2)
            if readable or decrypted:
                self._client.read()
            if writable:
                self._client.loop_write()

    def _unanswered(self) -> str:
        if self._client.socket() is not None:
            where = where_is(self._settings)
            return (
                f"broker {where} takes the connection and says nothing: "
                "check that mqtt.port is that of an MQTT broker, and that the broker is not stuck"
            )
        return why_unanswered(self._client.failure, self._reason, self._settings)

    def _connected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if not reason.is_failure:
            self._accepted = True
            for name in ("MaximumPacketSize", "ReceiveMaximum", "MaximumQoS", "ServerKeepAlive"):
                if (limit := getattr(properties, name, None)) is not None:
                    self._welcome.limits[name] = int(limit)
        elif reason.value == UNSUPPORTED_PROTOCOL and self._welcome.version == "5":
            self._too_new = True
        else:
            self._wrong = why_refused(reason, properties, self._settings)

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._reason = reason

    def _subscribed(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        topic = self._asked.pop(mid, "")
        for reason in reasons:
            if reason.is_failure:
                self._welcome.refused[topic] = str(reason)
