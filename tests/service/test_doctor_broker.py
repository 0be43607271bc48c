"""What the doctor says of brokers: a real one that is up, down, refuses, or has a certificate that is no good."""

import datetime as dt
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from broker_script import Peer, Script, ScriptedBroker
from conftest import ROOT, Mosquitto
from rig import images_line

from service.doctor.broker import broker
from service.doctor.case import Case
from service.doctor.certificates import NoCertificateError, days_left
from service.doctor.finding import Finding
from service.doctor.greeting import RefusedError, greet
from service.doctor.system import System
from service.sections import MqttSection, Settings

Scripted = Callable[..., ScriptedBroker]


def settings_with(mqtt: dict[str, Any], **line: Any) -> Settings:
    lines = [images_line(Path("/nowhere"), **line)]
    return Settings.model_validate({"node": "cell-7", "mqtt": mqtt, "model": str(ROOT / "models"), "lines": lines})


def about(mqtt: dict[str, Any], **line: Any) -> list[Finding]:
    settings = settings_with(mqtt, **line)
    found = list(broker(Case(System(), Path("/none.yaml"), settings), settings))
    assert all(bool(one.remedy) == (one.level != "ok") for one in found)
    return found


def error_about(mqtt: dict[str, Any], **line: Any) -> Finding:
    (one,) = (finding for finding in about(mqtt, **line) if finding.level == "error")
    return one


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    made: list[ScriptedBroker] = []

    def make(*scripts: Script) -> ScriptedBroker:
        made.append(ScriptedBroker(*scripts))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_broker_that_lets_us_in(mosquitto: Mosquitto) -> None:
    (found,) = about({"port": mosquitto.port})
    assert found.level == "ok"
    assert found.facts["mqtt"] == "5"
    assert isinstance(found.facts["round_trip_ms"], float)
    log = (mosquitto.folder / "mosquitto.log").read_text()
    assert "as edgecls-doctor-" in log
    assert "edgecls-cell-7" not in log


def test_a_broker_that_is_down(free_port: int) -> None:
    found = error_about({"port": free_port})
    assert "nothing listens on that port" in found.text
    assert "systemctl status mosquitto" in found.remedy


def test_a_name_that_nobody_knows() -> None:
    found = error_about({"host": "broker.invalid"})
    assert "nobody knows where broker broker.invalid:1883 is" in found.text
    assert "mqtt.host" in found.remedy


def test_a_wrong_password_and_a_right_one(mosquitto: Mosquitto, tmp_path: Path) -> None:
    file = mosquitto.folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(file), "edgecls", "s3cret"], check=True)
    mosquitto.restart(f"password_file {file}", "allow_anonymous false")
    (tmp_path / "password").write_text("wr0ng")
    login = {"port": mosquitto.port, "username": "edgecls", "password_file": str(tmp_path / "password")}
    found = error_about(login)
    assert "refuses us: Not authorized" in found.text
    assert "mqtt.password_file" in found.remedy
    assert "wr0ng" not in str(found)
    (tmp_path / "password").write_text("s3cret\n")
    (fine,) = about(login)
    assert fine.level == "ok"
    (tmp_path / "password").unlink()
    assert "cannot be read" in error_about(login).text


def certify(mosquitto: Mosquitto, authority: trustme.CA, folder: Path, ends: dt.datetime | None = None) -> str:
    server = authority.issue_cert("127.0.0.1", not_after=ends)
    server.private_key_pem.write_to_path(folder / "server.key")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    files = (f"cafile {folder}/ca.pem", f"certfile {folder}/server.pem", f"keyfile {folder}/server.key")
    mosquitto.restart(*files, "allow_anonymous true")
    return str(folder / "ca.pem")


def in_days(days: float) -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=days)


def test_certificates_that_are_valid_end_soon_or_have_ended(mosquitto: Mosquitto, tmp_path: Path) -> None:
    authority = trustme.CA()
    for days, level in ((100, "ok"), (10, "warning")):
        ca_file = certify(mosquitto, authority, tmp_path, in_days(days))
        found = about({"port": mosquitto.port, "tls": {"ca_file": ca_file}})
        (ends,) = (one for one in found if one.text.startswith("its certificate"))
        assert ends.level == level
        assert ends.facts["days_left"] == pytest.approx(days, abs=0.1)
        assert not [one for one in found if one.level == "error"]
    ca_file = certify(mosquitto, authority, tmp_path, in_days(-2))
    expired = error_about({"port": mosquitto.port, "tls": {"ca_file": ca_file}})
    assert "has expired" in expired.text
    assert "renew it on the broker" in expired.remedy


def test_our_own_certificate_has_ended(tmp_path: Path, free_port: int) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    mine = authority.issue_cert("edgecls@factory.example", not_after=in_days(-3))
    mine.private_key_pem.write_to_path(tmp_path / "my.key")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "my.pem")
    tls = {
        "ca_file": str(tmp_path / "ca.pem"),
        "cert_file": str(tmp_path / "my.pem"),
        "key_file": str(tmp_path / "my.key"),
    }
    found = {one.subject: one for one in about({"port": free_port, "tls": tls})}
    assert found["mqtt.tls.ca_file"].level == "ok"
    assert "has expired 3 days ago" in found["mqtt.tls.cert_file"].text


def test_a_certificate_is_read_as_openssl_reads_it(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    command = ["openssl", "x509", "-enddate", "-noout", "-in", str(tmp_path / "ca.pem")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().partition("=")[2]
    ends = dt.datetime.strptime(told, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=dt.timezone.utc)
    assert days_left(tmp_path / "ca.pem", 0.0) * 86400 == pytest.approx(ends.timestamp())
    for text in ("no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "bad.pem").write_text(text)
        with pytest.raises(NoCertificateError):
            days_left(tmp_path / "bad.pem", time.time())


def test_a_broker_that_knows_only_3_1_1(scripted: Scripted) -> None:
    def too_new(peer: Peer) -> None:
        peer.welcome(code=0x84)

    def old(peer: Peer) -> None:
        peer.welcome()
        peer.serve()

    (found,) = about({"port": scripted(too_new, old).port})
    assert (found.level, found.facts["mqtt"]) == ("ok", "3.1.1")


def test_a_trigger_that_may_not_be_read(scripted: Scripted) -> None:
    def strict(peer: Peer) -> None:
        peer.welcome()
        peer.serve(suback=0x87)

    found = error_about({"port": scripted(strict).port}, decide={"per": "trigger"})
    assert "factory/line1/trigger" in found.text
    assert "access rules" in found.remedy


def test_something_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = MqttSection(port=silent.getsockname()[1])
        with pytest.raises(RefusedError, match=r"takes the connection and says nothing: check that mqtt\.port"):
            greet(settings, [], timeout_s=0.3)


def test_a_password_in_the_open() -> None:
    found = about({"host": "broker.invalid", "username": "edgecls"})
    assert [one.level for one in found if "unencrypted" in one.text] == ["warning"]


def test_the_embedded_broker_does_not_run(free_port: int) -> None:
    (found,) = about({"host": "embedded", "port": free_port})
    assert found.level == "note"
