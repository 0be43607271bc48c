"""What the doctor says of the status page: its address, its certificate, and whether it answers."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Mosquitto, a_free_port
from rig import endless_line, finish, images_line, start, write_config

from service.doctor import page
from service.doctor.case import Case, open_case
from service.doctor.finding import Finding
from service.doctor.system import System


def case_with(folder: Path, **http: Any) -> Case:
    return open_case(System(), write_config(folder, 1883, [images_line(folder)], http=http), try_sources=True)


def told(case: Case) -> list[Finding]:
    assert case.settings is not None, case.problems
    return list(page.page(case, case.settings))


def test_without_a_page_there_is_nothing_to_tell(tmp_path: Path) -> None:
    case = open_case(System(), write_config(tmp_path, 1883, [images_line(tmp_path)]), try_sources=True)
    assert told(case) == []


def test_an_address_that_is_free_or_taken(tmp_path: Path, free_port: int) -> None:
    listen = f"127.0.0.1:{free_port}"
    (free,) = told(case_with(tmp_path, listen=listen))
    assert (free.level, free.text) == ("ok", f"{listen} is free for it")
    with socket.create_server(("127.0.0.1", free_port)):
        (taken,) = told(case_with(tmp_path, listen=listen))
    assert (taken.level, taken.text) == ("error", f"another program listens on {listen}")
    assert f"sport = :{free_port}" in taken.remedy


def test_what_crosses_the_network_is_unencrypted(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o600)
    warned, _ = told(case_with(tmp_path, listen=f"0.0.0.0:{free_port}", password_file="password"))  # a file
    assert (warned.level, warned.remedy) == ("warning", "set http.tls: {cert_file: …, key_file: …}")


def test_an_address_of_another_device(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o600)
    found = told(case_with(tmp_path, listen="192.0.2.7:8080", password_file="password"))[-1]  # a file
    assert (found.level, "this device has no address" in found.text) == ("error", True)


def test_a_certificate_that_is_none(tmp_path: Path, free_port: int) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    tls = {"cert_file": "cert.pem", "key_file": "key.pem"}
    found, _ = told(case_with(tmp_path, listen=f"127.0.0.1:{free_port}", tls=tls))
    assert (found.subject, found.level) == ("page certificate", "error")
    assert "there is no certificate in it" in found.text


def test_a_daemon_at_work_is_asked(mosquitto: Mosquitto, clip: Path, tmp_path: Path) -> None:
    line = endless_line(clip)
    line["source"]["pace"] = "realtime"
    listen = f"127.0.0.1:{a_free_port()}"  # the fixture of that name is the broker's
    config = write_config(tmp_path, mosquitto.port, [line], http={"listen": listen})
    process = start(config)
    try:
        found: list[Finding] = []
        for _ in range(100):
            found = told(open_case(System(), config, try_sources=True))
            if found[0].level == "ok" and "answers after" in found[0].text:
                break
            time.sleep(0.2)
        assert [one.level for one in found] == ["ok"]
        other = write_config(tmp_path, mosquitto.port, [line], http={"listen": "127.0.0.1:1"})
        (gone,) = told(open_case(System(), other, try_sources=True))
        assert (gone.level, "nothing answers on 127.0.0.1:1" in gone.text) == ("error", True)
    finally:
        process.terminate()
        assert finish(process)[0] == 0


@pytest.mark.parametrize(("number", "part"), [(13, "is for root alone"), (5, "cannot be served")])
def test_other_reasons(number: int, part: str) -> None:
    assert part in page._not_there(OSError(number, "x"), "127.0.0.1:80", 80)[0]
