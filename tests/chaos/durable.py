"""A subscriber that wants every message: QoS 1, a session that outlives connections, and patience."""

import json
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from conftest import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from schemas import check

END = "chaos/end"
FOR_EVER = 0xFFFFFFFF


class DurableSubscriber:
    """Keeps what comes on `TOPIC/defects`, in the order of arrival, repeats included."""

    def __init__(self, port: int) -> None:
        self._more = threading.Condition()
        self._arrivals: list[tuple[float, bytes]] = []
        self._ids: set[str] = set()
        self._subscribed = threading.Event()
        self._end = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, "durable", protocol=MQTTProtocolVersion.MQTTv5)
        client.reconnect_delay_set(0.1, 0.1)  # type: ignore[arg-type]  # seconds; paho only compares and doubles them
        client.on_connect = lambda client, *_: client.subscribe([("factory/+/defects", 1), (END, 1)])
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._received
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # untyped in paho
        session.SessionExpiryInterval = FOR_EVER
        client.connect_async("127.0.0.1", port, clean_start=False, properties=session)
        client.loop_start()
        self._client = client

    def wait_until_subscribed(self) -> None:
        assert self._subscribed.wait(10), "the broker does not take a subscription"

    def _received(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == END:
            self._end.set()
            return
        message_id = json.loads(message.payload)["id"]
        with self._more:
            self._arrivals.append((time.monotonic(), bytes(message.payload)))
            self._ids.add(message_id)
            self._more.notify_all()

    def count(self) -> int:
        """Decisions so far, repeats left out."""
        with self._more:
            return len(self._ids)

    def wait_for(self, count: int, timeout_s: float) -> None:
        with self._more:
            enough = self._more.wait_for(lambda: len(self._ids) >= count, timeout_s)
        assert enough, f"{self.count()} of {count} decisions"

    def everything(self) -> list[tuple[float, dict[str, Any]]]:
        """All that the broker has for us: what comes before a message of our own, which it gets last.

        Each with the time of its arrival, CLOCK_MONOTONIC in seconds.
        """
        self._client.publish(END, qos=1)
        assert self._end.wait(60), "the broker owes us a message"
        received = [(at, json.loads(payload)) for at, payload in self._arrivals]
        for _, message in received:
            check("defects", message)
        return received

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def durable_subscriber(broker: Mosquitto) -> DurableSubscriber:
    """A subscriber to a broker that is down now: whenever it starts, after a SIGKILL too, it knows the session.

    So nothing is lost when the daemon is back before the subscriber is.
    """
    broker.stop()
    broker.configure(
        "allow_anonymous true",
        "persistence true",  # written on a clean stop, and not on a SIGKILL
        f"persistence_location {broker.folder}/",
        "max_queued_messages 0",  # no limit
    )
    broker.start()
    subscriber = DurableSubscriber(broker.port)
    subscriber.wait_until_subscribed()
    broker.stop()
    return subscriber
