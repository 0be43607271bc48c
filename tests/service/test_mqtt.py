"""The connection to a real mosquitto: logging in, TLS, refusals, brokers of another age."""

import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from conftest import Mosquitto

from service.mqtt import MqttConnection, MqttError, Will
from service.sections import MqttSection, TlsSection


@pytest.fixture
def connect() -> Iterator[Callable[..., MqttConnection]]:
    made: list[MqttConnection] = []

    def make(port: int, **more: object) -> MqttConnection:
        settings = MqttSection(host=str(more.pop("host", "127.0.0.1")), port=port, **more)  # type: ignore[arg-type]  # pydantic checks
        made.append(MqttConnection(settings, "edgecls-test", Will("edgecls/test/status", b"{}"), 20, lambda: None))
        made[-1].start()
        return made[-1]

    yield make
    for connection in made:
        connection.stop()


def until(condition: Callable[[], object], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def configure(mosquitto: Mosquitto, *lines: str) -> None:
    mosquitto.stop()
    mosquitto.configure(*lines)
    mosquitto.start()


def with_password(mosquitto: Mosquitto) -> None:
    file = mosquitto.folder / "passwords"
    file.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(file), "edgecls", "s3cret"], check=True)
    configure(mosquitto, f"password_file {file}", "allow_anonymous false")


def test_a_message_is_acknowledged(mosquitto: Mosquitto, connect: Callable[..., MqttConnection]) -> None:
    connection = connect(mosquitto.port)
    assert until(lambda: connection.connected)
    mid = connection.publish("a/b", b"{}", qos=1)
    assert until(lambda: mid in connection.take_acknowledged()[0])


def test_username_and_password_file(
    mosquitto: Mosquitto, connect: Callable[..., MqttConnection], tmp_path: Path
) -> None:
    with_password(mosquitto)
    (tmp_path / "password").write_text("s3cret\n")
    connection = connect(mosquitto.port, username="edgecls", password_file=str(tmp_path / "password"))
    assert until(lambda: connection.connected)


def test_a_wrong_password_is_told_once_and_not_shown(
    mosquitto: Mosquitto,
    connect: Callable[..., MqttConnection],
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


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority, tmp_path / "ca.pem"


def with_tls(mosquitto: Mosquitto, authority: trustme.CA, ca_file: Path, *more: str) -> None:
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(mosquitto.folder / "server.key")
    server.cert_chain_pems[0].write_to_path(mosquitto.folder / "server.pem")
    configure(
        mosquitto,
        f"cafile {ca_file}",
        f"certfile {mosquitto.folder}/server.pem",
        f"keyfile {mosquitto.folder}/server.key",
        "allow_anonymous true",
        *more,
    )


def test_tls(mosquitto: Mosquitto, connect: Callable[..., MqttConnection], authority: tuple[trustme.CA, Path]) -> None:
    with_tls(mosquitto, *authority)
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(authority[1])))
    assert until(lambda: connection.connected)


def test_a_broker_with_a_certificate_of_somebody_else_is_not_trusted(
    mosquitto: Mosquitto,
    connect: Callable[..., MqttConnection],
    authority: tuple[trustme.CA, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_tls(mosquitto, *authority)
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(tmp_path / "other.pem")))
    assert not until(lambda: connection.connected, 3)
    assert "does not answer" in caplog.text


def test_mutual_tls(
    mosquitto: Mosquitto,
    connect: Callable[..., MqttConnection],
    authority: tuple[trustme.CA, Path],
    tmp_path: Path,
) -> None:
    with_tls(mosquitto, *authority, "require_certificate true")
    mine = authority[0].issue_cert("edgecls@factory.example")
    mine.private_key_pem.write_to_path(tmp_path / "my.key")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "my.pem")
    ca_file = str(authority[1])
    mutual = TlsSection(ca_file=ca_file, cert_file=str(tmp_path / "my.pem"), key_file=str(tmp_path / "my.key"))
    connection = connect(mosquitto.port, tls=mutual)
    assert until(lambda: connection.connected)
    stranger = connect(mosquitto.port, tls=TlsSection(ca_file=ca_file))
    assert not until(lambda: stranger.connections, 3)


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        settings = MqttSection(tls=TlsSection(ca_file=str(tmp_path / name)))
        with pytest.raises(MqttError, match=r"certificates of mqtt\.tls cannot be used .*check ca_file"):
            MqttConnection(settings, "x", Will("w", b""), 1, lambda: None)


def test_a_broker_that_knows_only_3_1_1(
    connect: Callable[..., MqttConnection], caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that answers as such brokers do: it refuses level 5, and takes level 4."""
    caplog.set_level(logging.INFO)
    levels: list[int] = []
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while len(levels) < 2:
                client, _ = server.accept()
                clients.append(client)
                levels.append(client.recv(4096)[8])
                client.sendall(b"\x20\x02\x00\x01" if levels[-1] == 5 else b"\x20\x02\x00\x00")
                if levels[-1] == 5:
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        connection = connect(server.getsockname()[1])
        assert until(lambda: connection.renew_if_refused() or levels == [5, 4])
        assert until(lambda: connection.connected)
    assert levels == [5, 4]
    assert "connected to broker" in caplog.text


def test_a_broker_that_is_away_is_told_once(
    free_port: int, connect: Callable[..., MqttConnection], caplog: pytest.LogCaptureFixture
) -> None:
    connect(free_port)
    assert until(lambda: "does not answer: decisions are kept in the outbox" in caplog.text)
    time.sleep(2.5)
    assert caplog.text.count("does not answer") == 1
