#!/usr/bin/env python3
"""Listens to one line: drops repeats, notices gaps, and says "unknown" when it no longer knows the state.

subscribe.py factory/line1 --host broker.factory.example

Needs paho-mqtt 2: `pip install paho-mqtt`.
"""

import argparse
import contextlib
import json
import queue
import time
from collections import deque
from datetime import datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode


class Line:
    """What is known of a line."""

    def __init__(self) -> None:
        self._ids: deque[str] = deque(maxlen=500)
        self._newest: dict[str, Any] | None = None
        self._state: dict[str, Any] | None = None
        self._fresh_until = 0.0
        self._status: dict[str, str] = {}
        self._told = ""

    def take(self, message: paho.MQTTMessage) -> None:
        """Take a message of any of the three topics."""
        try:
            content = json.loads(message.payload)
            kind = content["schema"]
        except (ValueError, TypeError, KeyError):
            say(f"not from edgecls: {message.topic} {message.payload!r}")
            return
        if kind == "edgecls/decision/1":
            self._decision(content)
        elif kind == "edgecls/state/1":
            # A copy that the broker kept may be old; only then do we have to trust that both clocks are right.
            age_s = time.time() - seconds(content["ts"]) if message.retain else 0
            self._fresh_until = time.monotonic() + content["ttl_s"] - max(age_s, 0)
            self._state = content
        elif kind == "edgecls/status/1":
            self._status[content["node"]] = content["status"]

    def _decision(self, decision: dict[str, Any]) -> None:
        part = decision["part"]
        if decision["id"] in self._ids:
            say(f"part {part}: a repeat, dropped")
            return
        self._ids.append(decision["id"])
        # Ids order by time: they tell a message that comes late from numbers that begin again.
        newer = self._newest is None or decision["id"] > self._newest["id"]
        if self._newest is not None and newer:
            expected = self._newest["part"] + 1
            if part > expected:
                say(f"parts {expected} to {part - 1}: missing")
            elif part < expected:
                say(f"part {part}: the numbers begin again")
        if newer:
            self._newest = decision
        reason = f" ({decision['reason']})" if "reason" in decision else ""
        late = " late" if decision["late"] else ""
        say(f"part {part}: {decision['verdict']} {decision['label']} {decision['score']}{reason}{late}")

    def tell(self) -> None:
        """Say how the line is, if that has changed. To be called every second, also when nothing comes."""
        now = self._now()
        if now != self._told:
            self._told = now
            say(f"the line is {now}")

    def _now(self) -> str:
        if self._state is None:
            return "unknown: no state has come"
        if self._status.get(self._state["node"]) != "online":
            return f"unknown: {self._state['node']} is not online"
        if time.monotonic() > self._fresh_until:
            return f"unknown: no state for {self._state['ttl_s']} s"
        reason = self._state["reason"]
        return f"{self._state['state']}: {reason}" if reason else str(self._state["state"])


def seconds(timestamp: str) -> float:
    """Seconds since 1970 of a time as it stands in messages."""
    return datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def say(text: str) -> None:
    """Print it now, also into a pipe."""
    print(text, flush=True)


def connect(options: argparse.Namespace, messages: "queue.SimpleQueue[paho.MQTTMessage]") -> None:
    """Listen in the background, for ever. The broker keeps decisions for an hour while we are away."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=options.id, protocol=paho.MQTTv5)
    if options.user:
        client.username_pw_set(options.user, options.password)
    # States come all the time: with QoS 0 the broker does not keep old ones for us.
    topics = [(f"{options.topic}/defects", 1), (f"{options.topic}/state", 0), ("edgecls/+/status", 1)]

    def connected(client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            say(f"the broker refuses us: {reason}")
        else:
            client.subscribe(topics)

    client.on_connect = connected
    client.on_message = lambda _client, _data, message: messages.put(message)
    session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # untyped in paho
    session.SessionExpiryInterval = 3600
    client.connect(options.host, options.port, clean_start=False, properties=session)
    client.loop_start()


def main() -> None:
    """Print what happens on the line, until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Listen to one line of edgecls.")
    parser.add_argument("topic", help="of the line, such as factory/line1")
    parser.add_argument("--host", default="127.0.0.1", help="the broker (default: %(default)s)")
    parser.add_argument("--port", type=int, default=1883, help="its port (default: %(default)s)")
    parser.add_argument("--user", help="name at the broker")
    parser.add_argument("--password", help="password at the broker")
    parser.add_argument(
        "--id", default="subscribe.py", help="client id, another one for each copy (default: %(default)s)"
    )
    messages: queue.SimpleQueue[paho.MQTTMessage] = queue.SimpleQueue()
    connect(parser.parse_args(), messages)
    line = Line()
    while True:
        with contextlib.suppress(queue.Empty):
            line.take(messages.get(timeout=0.5))
        line.tell()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
