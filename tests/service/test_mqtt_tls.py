"""TLS with a real mosquitto: what works, and what is said when it does not."""

import datetime as dt
from pathlib import Path

import pytest
import trustme
from conftest import Mosquitto
from mqtt_rig import Connect, acknowledged, told, until

from service.mqtt import MqttConnection, MqttError, Will
from service.sections import MqttSection, TlsSection


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority, tmp_path / "ca.pem"


def with_tls(
    mosquitto: Mosquitto,
    authority: trustme.CA,
    ca_file: Path,
    *more: str,
    name: str = "127.0.0.1",
    until_when: dt.datetime | None = None,
    since: dt.datetime | None = None,
) -> None:
    server = authority.issue_cert(name, not_after=until_when, not_before=since)
    server.private_key_pem.write_to_path(mosquitto.folder / "server.key")
    server.cert_chain_pems[0].write_to_path(mosquitto.folder / "server.pem")
    mosquitto.restart(
        f"cafile {ca_file}",
        f"certfile {mosquitto.folder}/server.pem",
        f"keyfile {mosquitto.folder}/server.key",
        "allow_anonymous true",
        *more,
    )


def own_certificate(authority: trustme.CA, folder: Path) -> dict[str, str]:
    mine = authority.issue_cert("edgecls@factory.example")
    mine.private_key_pem.write_to_path(folder / "my.key")
    mine.cert_chain_pems[0].write_to_path(folder / "my.pem")
    return {"cert_file": str(folder / "my.pem"), "key_file": str(folder / "my.key")}


def test_tls(mosquitto: Mosquitto, connect: Connect, authority: tuple[trustme.CA, Path]) -> None:
    with_tls(mosquitto, *authority)
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(authority[1])))
    assert until(lambda: connection.connected)
    assert acknowledged(connection, {connection.publish("a/b", b"x" * 50_000, qos=1) for _ in range(50)})


def test_mutual_tls(mosquitto: Mosquitto, connect: Connect, authority: tuple[trustme.CA, Path], tmp_path: Path) -> None:
    with_tls(mosquitto, *authority, "require_certificate true")
    mutual = TlsSection(ca_file=str(authority[1]), **own_certificate(authority[0], tmp_path))
    connection = connect(mosquitto.port, tls=mutual)
    assert until(lambda: connection.connected)


def test_no_certificate_where_one_is_wanted(
    mosquitto: Mosquitto, connect: Connect, authority: tuple[trustme.CA, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with_tls(mosquitto, *authority, "require_certificate true")
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(authority[1])))
    assert told(caplog, "if it wants a certificate, set mqtt.tls.cert_file")
    assert connection.problem in caplog.messages
    assert not connection.connections


def test_a_certificate_of_ours_that_the_broker_does_not_trust(
    mosquitto: Mosquitto,
    connect: Connect,
    authority: tuple[trustme.CA, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_tls(mosquitto, *authority, "require_certificate true")
    mine = TlsSection(ca_file=str(authority[1]), **own_certificate(trustme.CA(), tmp_path))
    connection = connect(mosquitto.port, tls=mine)
    # The alert may be lost when the broker resets the connection; what to look at is said all the same.
    alert, reset = "refuses our certificate (tlsv1 alert unknown ca): check that mqtt.tls.cert_file", "hangs up on us"
    assert until(lambda: alert in caplog.text or (reset in caplog.text and "trusts mqtt.tls.cert_file" in caplog.text))
    assert not connection.connections


def test_a_broker_that_is_not_trusted(
    mosquitto: Mosquitto,
    connect: Connect,
    authority: tuple[trustme.CA, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with_tls(mosquitto, *authority)
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(tmp_path / "other.pem")))
    assert told(caplog, f"the certificate of broker 127.0.0.1:{mosquitto.port} is not trusted")
    assert told(caplog, "set mqtt.tls.ca_file to the certificate of the authority that has issued it")
    assert not connection.connections


PAST, FUTURE = (dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=d) for d in (-2, 2))
CERTIFICATES = {
    "of another name": ({"name": "broker.factory.example"}, "is for another name (IP address mismatch"),
    "expired": ({"until_when": PAST}, "has expired: renew it on the broker, and check this device's clock"),
    "not yet valid": ({"since": FUTURE}, "is not valid yet: check this device's clock, then the certificate"),
}


@pytest.mark.parametrize("what", CERTIFICATES)
def test_a_wrong_certificate_is_named(
    what: str,
    mosquitto: Mosquitto,
    connect: Connect,
    authority: tuple[trustme.CA, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    how, said = CERTIFICATES[what]
    with_tls(mosquitto, *authority, **how)  # type: ignore[arg-type]  # a table of keyword arguments
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(authority[1])))
    assert told(caplog, f"the certificate of broker 127.0.0.1:{mosquitto.port} {said}")
    assert not connection.connections


def test_tls_to_a_port_without_it(mosquitto: Mosquitto, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    connect(mosquitto.port, tls=TlsSection())
    assert told(caplog, "does not speak TLS")
    assert told(caplog, "check that mqtt.port is its port for TLS, usually 8883")


def test_no_tls_to_a_port_with_it(
    mosquitto: Mosquitto, connect: Connect, authority: tuple[trustme.CA, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with_tls(mosquitto, *authority)
    connect(mosquitto.port)
    assert told(caplog, "if it wants TLS set mqtt.tls")


def test_a_renewed_authority_is_read_without_a_restart(
    mosquitto: Mosquitto, connect: Connect, authority: tuple[trustme.CA, Path], tmp_path: Path
) -> None:
    with_tls(mosquitto, *authority)
    used = tmp_path / "used.pem"
    trustme.CA().cert_pem.write_to_path(used)
    connection = connect(mosquitto.port, tls=TlsSection(ca_file=str(used)))
    assert until(lambda: "not trusted" in connection.problem)
    used.write_bytes(authority[1].read_bytes())
    assert until(lambda: connection.connected)
    assert connection.problem == ""


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        settings = MqttSection(tls=TlsSection(ca_file=str(tmp_path / name)))
        with pytest.raises(MqttError, match=r"certificates of mqtt\.tls cannot be used .*check ca_file"):
            MqttConnection(settings, "x", Will("w", b""), 1, lambda: None)
