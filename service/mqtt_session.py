"""One connection to a broker, from CONNECT to its end."""

import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from service.mqtt_client import Client, OversizedError
from service.mqtt_login import log_in, where_is, why_lost, why_refused, why_unanswered
from service.mqtt_packets import (
    LARGEST_BYTES,
    Incoming,
    Will,
    can_be_answered,
    connect_properties,
    incoming,
    publish_packet,
    will_properties,
)
from service.mqtt_window import Outgoing, Window
from service.sections import MqttSection
from service.yaml_lines import shown

log = logging.getLogger(__name__)

NO_LIMIT = 65535
TICK_S = 1.0
ROUND_S = 0.001
"""Acknowledgements come one by one; what follows the first within this time is read with it."""
GOODBYE_S = 2.0
MAX_WARNINGS = 100
_PUBACK_REMEDIES = {
    0x87: "check its access rules",
    0x90: "check its access rules, and the line's topic",
    0x97: "raise its quota",
}

OnMessage = Callable[[Incoming], None]


class Session:
    """A client of paho's and all that happens to it, in the thread that calls `run`.

    paho's own thread would not do: it ends for ever on an error that paho did not foresee, hides why TLS failed, and
    sends again after a reconnect without asking how much the broker takes now.

    Args:
        settings: where the broker is and how to log in.
        client_id: `edgecls-` and the node.
        will: retained, QoS 1.
        window: what to send.
        subscriptions: what to listen to; it may change at any time.
        on_change: called after acknowledgements.
        on_accept: called when the broker has accepted us.
        use_3_1_1: speak MQTT 3.1.1.
        subscribe_from: nothing is subscribed to before that time of the monotonic clock, in seconds.

    Raises:
        MqttError: a certificate or password file cannot be read.
    """

    def __init__(
        self,
        settings: MqttSection,
        client_id: str,
        will: Will,
        *,
        window: Window,
        subscriptions: Mapping[str, OnMessage],
        on_change: Callable[[], None],
        on_accept: Callable[[], None],
        use_3_1_1: bool,
        subscribe_from: float = 0.0,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._where = where_is(settings)
        self._window = window
        self._subscriptions = subscriptions
        self._subscribe_from = subscribe_from
        self._listening: set[str] = set()
        """The topics that the broker was told of."""
        self._asked: dict[int | None, str] = {}
        """Message id of a SUBSCRIBE to its topic."""
        self._on_change = on_change
        self._on_accept = on_accept
        self._is_5 = not use_3_1_1
        self._warned: set[str] = set()
        self._reason: ReasonCode | None = None
        self._properties: Properties | None = None
        self._problem = ""
        self._answered = False
        """Something was, since `on_change` was called last."""
        self.accepted_at: float | None = None
        """Seconds of the monotonic clock; None when the broker has not accepted us, or not yet."""
        self.refused_with: int | None = None
        """The reason code of a CONNACK that is no welcome, as MQTT 5 counts them."""
        self.largest: int | None = None
        self._client = self._make_client(will)

    @property
    def ended_with(self) -> int | None:
        """The reason code with which the broker ended an accepted connection."""
        return None if self._reason is None else self._reason.value

    @property
    def was_flooded(self) -> bool:
        """Whether it ended because somebody sent a packet that is too large to be read."""
        return isinstance(self._client.failure, OversizedError)

    def run(self, keepalive_s: int, silence_s: float, ending: threading.Event, woken: socket.socket) -> str:
        """Connect, and serve the connection until it ends or `ending` is set. Why it ended, in one sentence.

        Raises:
            OSError, UnicodeError: there was no connection.
        """
        host = "127.0.0.1" if self._settings.host == "embedded" else self._settings.host
        port = self._settings.port_or_default
        try:
            if self._is_5:
                self._client.connect(host, port, keepalive_s, clean_start=True, properties=connect_properties())
            else:
                self._client.connect(host, port, keepalive_s)
            self._serve(silence_s, ending, woken)
        finally:
            sock = self._client.socket()
            if sock is not None:
                sock.close()
        return self._problem or self._why()

    def _serve(self, silence_s: float, ending: threading.Event, woken: socket.socket) -> None:
        goodbye_by: float | None = None
        while self._client.socket() is not None and not self._problem:
            now = time.monotonic()
            if self.accepted_at is not None and now >= self._subscribe_from:
                self._subscribe()  # before anything is sent: who sees us come may trigger at once
            self._send()
            if ending.is_set() and goodbye_by is None:
                goodbye_by = now + GOODBYE_S
                self._client.disconnect()
            if goodbye_by is not None and now > goodbye_by:
                return
            oldest = self._window.oldest_sent_at() if self.accepted_at is not None else None
            if oldest is not None and now - oldest > silence_s:
                self._problem = (
                    f"broker {self._where} takes messages and does not acknowledge them: decisions are kept in the "
                    "outbox, connecting again; see the broker's log"
                )
                return
            self._step(woken)

    def _step(self, woken: socket.socket) -> None:
        sock = self._client.socket()
        if sock is None:
            return
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        writers = [sock] if self._client.want_write() else []
        readable, writable, _ = select.select([sock, woken], writers, [], 0 if decrypted else TICK_S)
        if woken in readable:
            woken.recv(4096)
        if sock in readable or decrypted:
            self._read()
        if sock in writable:
            self._client.loop_write()
        self._client.loop_misc()

    def _read(self) -> None:
        if self._window.in_flight > 1:
            time.sleep(ROUND_S)
        self._client.read()
        if self._answered:
            self._answered = False
            self._on_change()

    def _send(self) -> None:
        """All that there is room for goes out in one piece."""
        packets = []
        while self.accepted_at is not None and (message := self._window.take()) is not None:
            mid = self._client.next_mid()
            try:
                packet = publish_packet(message, mid, is_5=self._is_5)
            except ValueError as error:
                self._cannot_send(message, f"cannot be sent this message ({error})")
                continue
            if self.largest is not None and len(packet) > self.largest:
                self._cannot_send(message, f"takes {self.largest} bytes at most, and this message has {len(packet)}")
                continue
            if message.qos:
                self._window.sent(message, mid, time.monotonic())
            packets.append(packet)
        if packets:
            self._client.send(b"".join(packets))

    def _cannot_send(self, message: Outgoing, why: str) -> None:
        self._warn(f"broker {self._where} {why}, on topic {shown(message.topic)}: raise its limit")
        if message.qos:
            self._window.refuse(message)
            self._on_change()

    def _subscribe(self) -> None:
        if self._listening == self._subscriptions.keys():
            return
        wanted = set(self._subscriptions)  # another thread may change it meanwhile
        for topic in self._listening - wanted:
            self._client.unsubscribe(topic)
        for topic in sorted(wanted - self._listening):
            if self._is_5:
                options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
                _, mid = self._client.subscribe(topic, options=options)
            else:
                _, mid = self._client.subscribe(topic, qos=1)
            self._asked[mid] = topic
        self._listening = wanted

    def _make_client(self, will: Will) -> Client:
        client = Client(
            self._message_answered,
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if self._is_5 else True,
            reconnect_on_failure=False,  # or paho falls back to MQTT 3.1, unasked
        )
        properties = will_properties() if self._is_5 else None
        client.will_set(will.topic, will.payload, qos=1, retain=True, properties=properties)
        log_in(client, self._settings)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscription_answered
        client.on_message = self._received
        return client

    def _connected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if self.accepted_at is not None:
            return  # a broker that says it twice
        if reason.is_failure:
            self.refused_with = reason.value
            self._problem = why_refused(reason, properties, self._settings)
            return
        if getattr(properties, "MaximumQoS", 1) == 0:
            self._problem = f"broker {self._where} knows no QoS 1, and edgecls needs it: allow it on the broker"
            return
        self.largest = getattr(properties, "MaximumPacketSize", None)
        self._window.begin(getattr(properties, "ReceiveMaximum", NO_LIMIT))
        self.accepted_at = time.monotonic()
        self._on_accept()

    def _disconnected(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._reason, self._properties = reason, properties

    def _message_answered(self, mid: int, reason: ReasonCode | None) -> None:
        refused = False
        if reason is not None and reason.is_failure:
            refused = True
            remedy = _PUBACK_REMEDIES.get(reason.value, "see its log")
            self._warn(f"broker {self._where} does not accept a message: {reason}: {remedy}")
        self._window.answered(mid, accepted=not refused)
        self._answered = True

    def _subscription_answered(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        topic = self._asked.pop(mid, None)
        for reason in reasons:
            if topic is not None and reason.is_failure:
                self._warn(
                    f"broker {self._where} refuses the subscription to {topic}: {reason}: let {self._client_id} read "
                    "it in the broker's access rules"
                )

    def _received(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        on_message = self._subscriptions.get(topic)
        if on_message is None or message.retain or self.accepted_at is None:
            return
        if len(message.payload) > LARGEST_BYTES:
            self._warn(f"a message of {len(message.payload)} bytes on {topic} is passed over: it is too large")
            return
        response = getattr(message.properties, "ResponseTopic", None)
        if response is not None and not can_be_answered(response):
            self._warn(f"nothing can be published to the response topic {shown(response)} that came on {topic}")
        try:
            on_message(incoming(message, topic))
        except Exception:
            log.exception("a message on %s could not be handled", topic)

    def _why(self) -> str:
        failure, reason = self._client.failure, self._reason
        if self.accepted_at is None:
            return why_unanswered(failure, reason, self._settings)
        node = self._client_id.removeprefix("edgecls-")
        return why_lost(failure, reason, self._properties, self._settings, node)

    def _warn(self, text: str) -> None:
        # Once in each connection, and not without end when somebody wants to fill the disk.
        if text not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(text)
            log.warning("%s", text)
