"""What is said to a broker besides the messages themselves, and what is taken from it."""

import time
from dataclasses import dataclass
from functools import lru_cache

from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MessageType
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from service.mqtt_window import Outgoing
from service.yaml_lines import shown

JSON = "application/json"
LARGEST_BYTES = 64 * 1024
"""The largest packet that we want; nothing that is meant for us comes near. MQTT 5 brokers are told."""
RECEIVE_MAXIMUM = 20
"""How many QoS 1 messages a broker may send us before we acknowledge the first. MQTT 5 brokers are told."""
LEVELS, TOPIC_BYTES = 100, 1024
"""Of a response topic, at most."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says when we vanish."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that somebody sent us."""

    topic: str
    payload: bytes
    response_topic: str | None
    """Where an answer may go; None when none is wanted, or on a topic that cannot be published to."""
    correlation: bytes | None


def connect_properties() -> Properties:
    """For CONNECT."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # untyped in paho
    properties.SessionExpiryInterval = 0
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    properties.MaximumPacketSize = LARGEST_BYTES
    return properties


def will_properties() -> Properties:
    """For the last will."""
    return _json(PacketTypes.WILLMESSAGE)


def publish_packet(message: Outgoing, mid: int, *, is_5: bool) -> bytes:
    """A message that goes out now as a PUBLISH packet (MQTT 5 and 3.1.1, 3.3).

    Args:
        message: what to send.
        mid: its message id, for QoS 1.
        is_5: whether it is a packet of MQTT 5.

    Raises:
        ValueError: MQTT cannot carry it.
    """
    rest = b"".join(
        (
            _topic(message.topic),
            mid.to_bytes(2, "big") if message.qos else b"",
            _publish_properties(message) if is_5 else b"",
            message.payload,
        )
    )
    first = MessageType.PUBLISH | message.qos << 1 | message.retain
    length: bytes = VariableByteIntegers.encode(len(rest))  # type: ignore[no-untyped-call]  # untyped in paho
    return bytes((first,)) + length + rest


@lru_cache
def _topic(topic: str) -> bytes:
    name = topic.encode()
    if not name or set("+#\0") & set(topic):
        raise ValueError(f"{shown(topic)} is no topic to publish to")
    return len(name).to_bytes(2, "big") + name


def _publish_properties(message: Outgoing) -> bytes:
    if message.correlation is None and message.expires_at is None and message.content_type == JSON:
        return _JSON
    properties = _json(PacketTypes.PUBLISH)
    if message.content_type != JSON:
        properties.ContentType = message.content_type
        properties.PayloadFormatIndicator = 0
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.expires_at is not None:
        # What has expired meanwhile still has to be acknowledged, so that it leaves the outbox.
        properties.MessageExpiryInterval = max(1, round(message.expires_at - time.monotonic()))
    return _packed(properties)


def _json(packet_type: int) -> Properties:
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]  # untyped in paho
    properties.ContentType = JSON
    properties.PayloadFormatIndicator = 1
    return properties


def _packed(properties: Properties) -> bytes:
    return bytes(properties.pack())  # type: ignore[no-untyped-call]  # untyped in paho


_JSON = _packed(_json(PacketTypes.PUBLISH))


def incoming(message: MQTTMessage, topic: str) -> Incoming:
    """What paho received, without what cannot be used."""
    response = getattr(message.properties, "ResponseTopic", None)
    correlation = getattr(message.properties, "CorrelationData", None)
    return Incoming(
        topic,
        bytes(message.payload),
        response if response and can_be_answered(response) else None,
        None if correlation is None else bytes(correlation),
    )


def can_be_answered(topic: str) -> bool:
    """Whether an answer may be published to a response topic.

    A broker may end the connection over one with control characters, or with hundreds of levels (mosquitto: 200), and
    what begins with $ is its own. The answer would be offered to every new connection, and end each of them.
    """
    sound = topic.isprintable() and not topic.startswith("$") and not set("+#") & set(topic)
    return sound and topic.count("/") < LEVELS and len(topic.encode()) <= TOPIC_BYTES
