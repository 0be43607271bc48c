"""What the doctor says of the service: systemd's answer, files and who may read them, what waits in the outbox."""

import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mqtt_rig import DEFECTS, Device
from rig import images_line, write_config

from service.doctor import backlog, files, unit
from service.doctor.case import Case, open_case
from service.doctor.finding import Finding
from service.doctor.system import System
from service.outbox import Message, Outbox

RUNNING = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "ExecMainStatus": "0",
    "UnitFileState": "enabled",
    "NRestarts": "0",
    "StatusText": "line1 inspecting 29.8 fps",
    "MainPID": "812",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "ReadWritePaths": "",
}


def case_with(folder: Path, **more: Any) -> Case:
    return open_case(System(), write_config(folder, 1883, [images_line(folder)], **more), try_sources=True)


def told(**changed: str) -> list[Finding]:
    return list(unit.unit(Case(System(), Path("/none.yaml")), {**RUNNING, **changed}))


def test_a_service_that_runs() -> None:
    (found,) = told()
    assert found.level == "ok"
    assert "line1 inspecting" in found.text


@pytest.mark.parametrize(
    ("changed", "level", "part", "remedy"),
    [
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "78"}, "error", "is wrong", "check-config"),
        ({"ActiveState": "failed", "Result": "watchdog"}, "error", "does not stay up (watchdog", "journalctl"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart", "Result": "signal"},
            "error",
            "(signal",
            "journalctl",
        ),
        ({"ActiveState": "activating"}, "note", "is starting", "systemctl status"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "warning", "does not run", "systemctl start"),
        ({"NRestarts": "3"}, "warning", "again 3 times", "journalctl"),
        ({"UnitFileState": "disabled"}, "warning", "when the device boots", "systemctl enable"),
    ],
)
def test_a_service_that_does_not(changed: dict[str, str], level: str, part: str, remedy: str) -> None:
    found = told(**changed)[-1]
    assert (found.level, part in found.text, remedy in found.remedy) == (level, True, True), found


def test_systemctl_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(System(), tmp_path / "none.yaml")
    (tmp_path / "systemctl").write_text('#!/bin/sh\necho "$@" >&2\nprintf "LoadState=loaded\\nStatusText=a=b\\n"\n')
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert unit.properties(System()) == {"LoadState": "loaded", "StatusText": "a=b"}
    (tmp_path / "systemctl").write_text('#!/bin/sh\nprintf "LoadState=not-found\\n"\n')
    assert unit.properties(System()) == {}
    (found,) = unit.unit(case, {})
    assert (found.level, found.remedy) == ("note", "sudo ./install.sh")


def test_what_the_sandbox_keeps_from_the_service(tmp_path: Path) -> None:
    outbox = {"path": "/srv/edgecls/outbox.db"}
    line = {**images_line(tmp_path), "source": {"video": "/home/me/clip.mp4"}}
    case = open_case(System(), write_config(tmp_path, 1883, [line], outbox=outbox), try_sources=True)
    home, folder = unit.confinement(case, RUNNING)
    assert "/home/me/clip.mp4 lies in a home" in home.text
    assert folder.remedy == "sudo systemctl edit edgecls, with [Service] and ReadWritePaths=/srv/edgecls"
    assert list(unit.confinement(case, {**RUNNING, "ProtectHome": "no", "ReadWritePaths": "-/srv"})) == []
    elsewhere = case_with(tmp_path, outbox={"path": "/var/lib/edgecls/outbox.db"}, evidence={"path": "/srv/pictures"})
    (found,) = unit.confinement(elsewhere, {**RUNNING, "ProtectHome": "no"})
    assert (found.level, found.remedy.rpartition("=")[2]) == ("warning", "/srv/pictures")
    assert "where pictures of rejects are to be" in found.text


def looked_at(case: Case) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for one in files.files(case):
        assert (one.remedy == "") == (one.level == "ok")
        found.setdefault(one.subject, []).append(one)
    return found


def test_files_of_a_user_without_a_service(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o644)
    mqtt = {"username": "edgecls", "password_file": "password"}
    found = looked_at(case_with(tmp_path, mqtt=mqtt, outbox={"path": "none/outbox.db"}))
    assert [one.level for one in found["mqtt.password_file"]] == ["warning", "ok"]
    assert found["mqtt.password_file"][0].remedy == f"sudo chmod o-rwx {tmp_path}/password"
    assert "is not there yet" in found["outbox"][0].text
    assert found["evidence"][0].text.endswith(f"may make {tmp_path}/none/evidence")
    (tmp_path / "file").write_text("")
    blocked = looked_at(case_with(tmp_path, evidence={"path": "file/evidence"}))["evidence"][0]
    assert (blocked.level, "no pictures of rejects are kept" in blocked.text) == ("warning", True)
    assert f"sudo install -d -o {pwd.getpwuid(os.geteuid()).pw_name} -m 750" in blocked.remedy
    assert "evidence" not in looked_at(case_with(tmp_path, evidence={"max_mib": 0}))
    (tmp_path / "password").unlink()
    assert "is not there" in looked_at(case_with(tmp_path, mqtt=mqtt))["mqtt.password_file"][0].text


@pytest.fixture
def service_user(monkeypatch: pytest.MonkeyPatch) -> "pwd.struct_passwd":
    """A user that stands for the service's."""
    if os.geteuid() != 0:
        pytest.skip("asking as another user needs root")
    monkeypatch.setattr(files, "USER", "daemon")
    return pwd.getpwnam("daemon")


def test_files_of_the_service(open_folder: Path, service_user: "pwd.struct_passwd") -> None:
    (open_folder / "password").write_text("s3cret")
    (open_folder / "password").chmod(0o600)
    mqtt = {"username": "edgecls", "password_file": "password"}
    case = case_with(open_folder, mqtt=mqtt, outbox={"path": "state/outbox.db"})
    found = looked_at(case)
    assert [one.level for one in found["mqtt.password_file"]] == ["error"]
    assert "daemon may not read" in found["mqtt.password_file"][0].text
    assert "is not there" in found["outbox"][0].text
    (open_folder / "state").mkdir(mode=0o755)
    assert "daemon may not write to" in looked_at(case)["outbox"][0].text
    assert looked_at(case)["evidence"][0].level == "warning"
    os.chown(open_folder / "state", service_user.pw_uid, service_user.pw_gid)
    os.chown(open_folder / "password", 0, service_user.pw_gid)
    (open_folder / "password").chmod(0o640)
    found = looked_at(case)
    every = (*found["outbox"], *found["evidence"], *found["mqtt.password_file"])
    assert [one.level for one in every] == ["ok", "ok", "ok"]


def test_a_read_only_disk_under_the_outbox(
    open_folder: Path, small_disk: Path, service_user: "pwd.struct_passwd"
) -> None:
    os.chown(small_disk, service_user.pw_uid, service_user.pw_gid)
    case = case_with(open_folder, outbox={"path": str(small_disk / "outbox.db")})
    assert looked_at(case)["outbox"][0].level == "ok"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "daemon may not write" in looked_at(case)["outbox"][0].text


def waiting(case: Case) -> Finding:
    return list(backlog.backlog(case))[-1]


def test_what_waits_is_counted_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    case = case_with(tmp_path, outbox={"path": "out/outbox.db"})
    assert waiting(case).text == "nothing waits: there is none yet"
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20)
    outbox.update([Message(n, "line1", DEFECTS, b"{}", n, None) for n in range(1, 8)], (), {"line1": 7})
    for name in ("outbox.db", "outbox.db-wal"):  # as after a power cut: most of it in the write-ahead log
        shutil.copyfile(tmp_path / name, tmp_path / "out" / name)
    outbox.close()
    before = sorted((entry.name, entry.stat().st_mtime_ns) for entry in (tmp_path / "out").iterdir())
    found = waiting(case)
    assert found.facts["waiting"] == 7
    assert found.level == "warning"  # they are from long ago
    assert sorted((entry.name, entry.stat().st_mtime_ns) for entry in (tmp_path / "out").iterdir()) == before


def test_a_daemon_at_work_is_left_alone(tmp_path: Path, free_port: int) -> None:
    device = Device(tmp_path, free_port)
    try:
        # Its own locks are invisible to a process: somebody else has to look.
        case = write_config(tmp_path, free_port, [images_line(tmp_path)])
        command = [
            sys.executable,
            "-m",
            "service.cli",
            "doctor",
            "--section",
            "service",
            "--json",
            "--config",
            str(case),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"the daemon works with it (process {os.getpid()})" in done.stdout, done.stderr
    finally:
        device.stop()


def test_a_damaged_outbox(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"this is no database, and it is long enough to be taken for one" * 20)
    case = case_with(tmp_path)
    assert "cannot be read" in waiting(case).text
    assert waiting(case).level == "error"
    (tmp_path / "outbox.db").unlink()
    sqlite3.connect(tmp_path / "outbox.db").close()
    (tmp_path / "outbox.db.corrupt-20260101T000000.0Z").touch()
    assert "1 damaged files are kept" in next(iter(backlog.backlog(case))).text
