"""The connection to a real mosquitto: logging in, TLS, refusals, brokers of another age."""

import logging
import socket
import subprocess
import time
from pathlib import Path

import pytest
from broker_script import Peer, Script, ScriptedBroker, relay
from conftest import Mosquitto
from mqtt_rig import Connect, acknowledged, told, until

from service.mqtt import Incoming, MqttConnection, MqttError, Will
from service.sections import MqttSection


def send(mosquitto: Mosquitto, topic: str, payload: bytes, *more: str) -> None:
    """What a PLC does."""
    command = ["mosquitto_pub", "-p", str(mosquitto.port), "-q", "1", "-t", topic, "-s", *more]
    subprocess.run(command, input=payload, check=True)


def with_password(mosquitto: Mosquitto) -> None:
    file = mosquitto.folder / "passwords"
    file.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(file), "edgecls", "s3cret"], check=True)
    mosquitto.restart(f"password_file {file}", "allow_anonymous false")


def test_a_message_is_acknowledged(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.port)
    assert until(lambda: connection.connected)
    mid = connection.publish("a/b", b"{}", qos=1)
    assert acknowledged(connection, {mid})


def test_username_and_password_file(mosquitto: Mosquitto, connect: Connect, tmp_path: Path) -> None:
    with_password(mosquitto)
    (tmp_path / "password").write_text("s3cret\n")
    connection = connect(mosquitto.port, username="edgecls", password_file=str(tmp_path / "password"))
    assert until(lambda: connection.connected)


def test_a_wrong_password_is_told_once_and_not_shown(
    mosquitto: Mosquitto,
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_password(mosquitto)
    (tmp_path / "password").write_text("wr0ng")
    connection = connect(mosquitto.port, username="edgecls", password_file=str(tmp_path / "password"))
    assert until(lambda: "refuses us" in caplog.text)
    time.sleep(2.5)  # the second attempt comes after a second
    assert not connection.connected
    assert caplog.text.count("refuses us") == 1
    assert "check mqtt.username and mqtt.password_file" in caplog.text
    assert "wr0ng" not in caplog.text


def test_password_file_that_is_not_there(tmp_path: Path) -> None:
    settings = MqttSection(username="edgecls", password_file=str(tmp_path / "none"))
    with pytest.raises(MqttError, match=r"mqtt\.password_file .*none cannot be read .*check the path"):
        MqttConnection(settings, "x", Will("w", b""), 1, lambda: None)


def refuses_level_5(mosquitto: Mosquitto) -> Script:
    """A real mosquitto behind what brokers of that age answer to MQTT 5."""

    def script(peer: Peer) -> None:
        if peer.sock.recv(9, socket.MSG_PEEK | socket.MSG_WAITALL)[8] == 5:
            peer.read()
            peer.send(b"\x20\x02\x00\x01")
        else:
            relay(mosquitto.port)(peer)

    return script


def test_a_broker_that_knows_only_3_1_1(
    mosquitto: Mosquitto, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker = ScriptedBroker(refuses_level_5(mosquitto))
    connection = connect(broker.port, start=False)
    got: list[Incoming] = []
    connection.subscribe("a/trigger", got.append)
    early = connection.publish("a/early", b"{}", qos=1)
    connection.start()
    assert told(caplog, f"connected to broker 127.0.0.1:{broker.port} with MQTT 3.1.1")
    assert not told(caplog, "refuses us", 0)
    late = connection.publish("a/late", b"{}", qos=1, correlation=b"x", expiry_s=5)
    assert acknowledged(connection, {early, late})
    send(mosquitto, "a/trigger", b"now")
    assert until(lambda: got)
    assert got[0] == Incoming("a/trigger", b"now", None, None)
    broker.close()


def test_a_broker_that_is_away_is_told_once(free_port: int, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    connect(free_port)
    assert until(lambda: "does not answer (Connection refused): decisions are kept in the outbox" in caplog.text)
    time.sleep(2.5)
    assert caplog.text.count("does not answer") == 1
