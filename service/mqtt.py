"""MQTT through paho: one connection that is kept up for ever, MQTT 5 with a fall-back to 3.1.1.

paho's own thread runs the network loop and the callbacks below; they only note what happened and wake the publisher.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import PermanentError
from service.sections import MqttSection

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
RECONNECT_S = (1, 30)
UNSUPPORTED_PROTOCOL = "Unsupported protocol version"


class MqttError(PermanentError):
    """The connection can never work as configured: a certificate or password file that cannot be read."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says when we vanish."""

    topic: str
    payload: bytes


class MqttConnection:
    """A connection to one broker.

    Args:
        settings: where the broker is and how to log in.
        client_id: the same after a restart, so that the broker recognises us.
        will: retained, QoS 1.
        in_flight: how many QoS 1 messages may wait for an acknowledgement at a time.
        on_change: called from paho's thread after a connect, a disconnect and an acknowledgement; it must not block.

    Raises:
        MqttError: a certificate or password file cannot be read.
    """

    def __init__(
        self, settings: MqttSection, client_id: str, will: Will, in_flight: int, on_change: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._in_flight = in_flight
        self._on_change = on_change
        self._lock = threading.Lock()
        self._acknowledged: set[int] = set()
        self._refused: set[int] = set()
        self._connections = 0
        self._accepted = False
        self._once_accepted = threading.Event()
        self._told: str | None = None
        # The embedded broker speaks 3.1.1 alone, and chokes on a CONNECT of MQTT 5 that carries a will.
        self._use_3_1_1 = settings.host == "embedded"
        self.client = self._make_client(MQTTProtocolVersion.MQTTv311 if self._use_3_1_1 else MQTTProtocolVersion.MQTTv5)

    @property
    def where(self) -> str:
        """The broker as people write it."""
        return f"{self._settings.host}:{self._settings.port_or_default}"

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and is still there, as far as we know."""
        return self.client.is_connected()

    @property
    def connections(self) -> int:
        """How often the broker has accepted us since the start."""
        return self._connections

    def wait_for_the_first(self, timeout_s: float) -> bool:
        """Whether the broker accepts us within `timeout_s`, or has done so before."""
        return self._once_accepted.wait(timeout_s)

    def start(self) -> None:
        """Connect in the background, and go on trying."""
        host = "127.0.0.1" if self._settings.host == "embedded" else self._settings.host
        if self.client.protocol == MQTTProtocolVersion.MQTTv5:
            self.client.connect_async(host, self._settings.port_or_default, KEEPALIVE_S, clean_start=True)
        else:
            self.client.connect_async(host, self._settings.port_or_default, KEEPALIVE_S)
        self.client.loop_start()

    @property
    def window(self) -> int:
        """How many QoS 1 messages may be in flight now."""
        return self._in_flight

    @property
    def largest(self) -> int | None:
        """The greatest packet that the broker takes, in bytes; None when it sets no limit."""
        return None

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool = False,
        correlation: bytes | None = None,  # noqa: ARG002
    ) -> int | None:
        """Hand a message to paho; its message id, or None when it was not taken.

        A QoS 1 message that was taken is sent, again after a reconnect if need be, until it is acknowledged.
        """
        info = self.client.publish(topic, payload, qos=qos, retain=retain, properties=self._json_properties())
        taken = info.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN)
        return info.mid if taken else None

    def take_acknowledged(self) -> tuple[set[int], set[int]]:
        """The message ids that the broker has accepted since the last call, and those that it has refused."""
        with self._lock:
            taken = self._acknowledged, self._refused
            self._acknowledged, self._refused = set(), set()
        return taken

    def renew_if_refused(self) -> bool:
        """Change over to MQTT 3.1.1 when the broker has refused MQTT 5. Not to be called from paho's thread.

        When it did, everything that was in flight has to be handed over again.
        """
        if not self._use_3_1_1 or self.client.protocol == MQTTProtocolVersion.MQTTv311:
            return False
        self.client.disconnect()
        self.client.loop_stop()
        self.client = self._make_client(MQTTProtocolVersion.MQTTv311)
        self.start()
        return True

    def stop(self) -> None:
        """Say goodbye (so that the broker drops the will) and end paho's thread."""
        self.client.disconnect()
        self.client.loop_stop()

    def _make_client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=protocol,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else True,
        )
        client.max_inflight_messages_set(self._in_flight)
        client.reconnect_delay_set(*RECONNECT_S)
        client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        _log_in(client, self._settings)
        client.on_connect = self._connected
        client.on_connect_fail = self._not_connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        return client

    def _connected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            if reason.getName() == UNSUPPORTED_PROTOCOL and not self._use_3_1_1:
                self._use_3_1_1 = True
            else:
                self._say(f"broker {self.where} refuses us: {reason}: check mqtt.username and mqtt.password_file")
        else:
            self._connections += 1
            self._accepted = True
            self._once_accepted.set()
            self._say(f"connected to broker {self.where}", level=logging.INFO)
        self._on_change()

    def _not_connected(self, _client: paho.Client, _data: Any) -> None:
        self._say(f"broker {self.where} does not answer: decisions are kept in the outbox, trying again")

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        was_accepted, self._accepted = self._accepted, False
        if reason.is_failure and was_accepted:
            self._say(f"lost broker {self.where} ({reason}): decisions are kept in the outbox, trying again")
        self._on_change()

    def _published(
        self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._say(f"broker {self.where} does not accept a message: {reason}: check its access rules")
        with self._lock:
            (self._refused if reason.is_failure else self._acknowledged).add(mid)
        self._on_change()

    def _say(self, text: str, level: int = logging.WARNING) -> None:
        # A broker that is away for a weekend gives one line in the log, not one per attempt.
        if text != self._told:
            log.log(level, text)
            self._told = text

    def _json_properties(self) -> Properties | None:
        if self.client.protocol != MQTTProtocolVersion.MQTTv5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1
        return properties


def _log_in(client: paho.Client, settings: MqttSection) -> None:
    if settings.username is not None:
        client.username_pw_set(settings.username, _password(settings))
    if settings.tls is None:
        return
    try:
        client.tls_set(
            ca_certs=settings.tls.ca_file,
            certfile=settings.tls.cert_file,
            keyfile=settings.tls.key_file,
            cert_reqs=ssl.CERT_REQUIRED,
        )
    except (OSError, ValueError) as error:
        raise MqttError(
            f"the certificates of mqtt.tls cannot be used ({error}): check ca_file, cert_file and key_file"
        ) from error


def _password(settings: MqttSection) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MqttError(
            f"mqtt.password_file {settings.password_file} cannot be read ({error}): "
            "check the path and that this user may read it"
        ) from error
