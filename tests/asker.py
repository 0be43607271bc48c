"""Somebody who triggers decisions and keeps the replies: a PLC with MQTT 5 or 3.1.1."""

import json
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from schemas import validator

TRIGGER = "factory/line1/trigger"
DEFECTS = "factory/line1/defects"
REPLIES = "factory/line1/replies/plc"


class Asker:
    """Listens on `DEFECTS` and `REPLIES`; every reply is held against the schema of a decision."""

    def __init__(self, port: int, *, is_5: bool = True) -> None:
        self.replies: list[tuple[str, dict[str, Any], bytes | None]] = []
        self._more = threading.Condition()
        self._ready = threading.Event()
        protocol = MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="plc", protocol=protocol)
        self._client.on_connect = lambda client, *_: client.subscribe([(DEFECTS, 1), (REPLIES, 1)])
        if is_5:
            self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._received
        self._client.reconnect_delay_set(1, 1)
        if is_5:  # what comes while the broker has us not, it keeps
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # untyped in paho
            properties.SessionExpiryInterval = 300
            self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        else:
            self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _subscribe(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(DEFECTS, SubscribeOptions(qos=1)), (REPLIES, SubscribeOptions(qos=1))])

    def _received(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        reply = json.loads(message.payload)
        with self._more:
            self.replies.append((message.topic, reply, getattr(message.properties, "CorrelationData", None)))
            self._more.notify_all()

    def ask(
        self, payload: bytes = b"", *, reply_topic: str = "", correlation: bytes | None = None, retain: bool = False
    ) -> paho.MQTTMessageInfo:
        properties = None
        if reply_topic or correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
            if reply_topic:
                properties.ResponseTopic = reply_topic
            if correlation is not None:
                properties.CorrelationData = correlation
        return self._client.publish(TRIGGER, payload, qos=1, retain=retain, properties=properties)

    def ask_for(self, trigger_id: str, **more: Any) -> paho.MQTTMessageInfo:
        return self.ask(json.dumps({"id": trigger_id}).encode(), **more)

    def wait_for(self, enough: Callable[[], bool], timeout_s: float = 60) -> None:
        with self._more:
            assert self._more.wait_for(enough, timeout_s), self.replies

    def wait_for_replies(self, count: int) -> list[dict[str, Any]]:
        """The first `count` replies, wherever they came."""
        self.wait_for(lambda: len(self.replies) >= count)
        return [reply for _, reply, _ in self.replies]

    @property
    def ids(self) -> list[str | None]:
        return [reply["trigger"]["id"] for _, reply, _ in self.replies]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        for _, reply, _ in self.replies:
            validator("decision").validate(reply)
