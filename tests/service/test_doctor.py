"""`edgecls doctor` as it is called: what it prints, its exit status, and that nothing makes it fall over."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Mosquitto
from rig import images_line, write_config, write_images

from service.cli import main
from service.doctor import examine
from service.doctor.case import Case
from service.doctor.examine import Check, checks
from service.doctor.finding import LEVELS, SECTIONS, Finding
from service.doctor.system import System

COMMAND = [sys.executable, "-m", "service.cli", "doctor"]


@dataclass(frozen=True)
class Told:
    status: int
    out: str


Doctor = Callable[..., Told]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    def call(*arguments: object) -> Told:
        status = main(["doctor", *map(str, arguments)])
        told = capsys.readouterr()
        assert told.err == ""
        assert "not foreseen" not in told.out
        return Told(status, told.out)

    return call


def config(folder: Path, port: int) -> Path:
    write_images(folder / "pictures", 2)
    return write_config(folder, port, [images_line(folder / "pictures")], engine={"cache_dir": "cache"})


def test_one_document_with_everything(tmp_path: Path, mosquitto: Mosquitto, doctor: Doctor) -> None:
    done = doctor("--json", "--config", config(tmp_path, mosquitto.port))
    document: dict[str, Any] = json.loads(done.out)
    assert document["schema"] == "edgecls/doctor/1"
    assert [*dict.fromkeys(one["section"] for one in document["findings"])] == list(SECTIONS)
    for one in document["findings"]:
        assert set(one) == {"section", "subject", "level", "text", "remedy", "facts"}
        assert (one["remedy"] == "") == (one["level"] == "ok")
        assert one["text"]
        assert not one["text"].endswith(".")
    assert document["levels"] == {level: sum(one["level"] == level for one in document["findings"]) for level in LEVELS}
    assert done.status == (1 if document["levels"]["error"] else 0)
    assert done.status == 0, [one for one in document["findings"] if one["level"] == "error"]


def test_sections_and_exit_status(tmp_path: Path, free_port: int, doctor: Doctor) -> None:
    file = config(tmp_path, free_port)
    fine = doctor("--section", "configuration", "--config", file)
    assert fine.status == 0
    assert fine.out.startswith("configuration\n  ok       ")
    assert "160x120" in fine.out
    assert fine.out.endswith("\nNothing is wrong.\n")
    down = doctor("--section", "broker", "--section", "configuration", "--no-sources", "--config", file)
    assert down.status == 1
    assert f"  error    broker 127.0.0.1:{free_port}: cannot be reached" in down.out
    assert "\n           -> start the broker" in down.out
    assert "its source was not tried" in down.out
    assert down.out.endswith("\n1 error\n")
    with pytest.raises(SystemExit, match="2"):
        doctor("--section", "weather")


def test_a_configuration_that_is_missing_or_wrong(tmp_path: Path, doctor: Doctor) -> None:
    missing = doctor("--config", tmp_path / "none.yaml", "--section", "configuration", "--section", "broker")
    assert missing.status == 1
    assert "none.yaml: there is no such file" in missing.out
    assert "no broker was tried" in missing.out
    (tmp_path / "wrong.yaml").write_text("mqtt: {prot: 1}\nlines: []\n")
    wrong = doctor("--config", tmp_path / "wrong.yaml", "--section", "configuration")
    assert wrong.status == 1
    assert "line 1: mqtt.prot: unknown key (did you mean port?)" in wrong.out
    assert f"-> correct it, then: edgecls check-config {tmp_path}/wrong.yaml" in wrong.out


def test_what_fails_unforeseen_is_a_finding_and_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd() -> "list[Finding]":
        raise ZeroDivisionError("odd")

    case = Case(System(tmp_path), tmp_path / "none.yaml")
    whole = list(checks(case))
    monkeypatch.setattr(examine, "checks", lambda _: [Check("device", "looking at x", odd), *whole])
    found = [one for _, findings in examine.examine(case, {"device"}, lambda *_: None) for one in findings]
    assert found[0].level == "error"
    assert "looking at x failed in a way that was not foreseen (ZeroDivisionError: odd)" in found[0].text
    assert len(found) > 2


def test_nothing_of_a_system_has_to_be_there(tmp_path: Path) -> None:
    case = Case(System(tmp_path / "empty"), tmp_path / "none.yaml")
    found = [
        one
        for _, findings in examine.examine(case, {"device", "cameras", "service"}, lambda *_: None)
        for one in findings
    ]
    assert not [one for one in found if "not foreseen" in one.text]


def test_colours_and_a_bar_on_a_terminal_alone(tmp_path: Path, free_port: int, doctor: Doctor) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--section", "broker", "--config", str(config(tmp_path, free_port))]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the end, as a terminal tells it
        pass
    assert process.wait(30) == 1
    assert b"greeting the broker" in shown
    assert b"\x1b[1;31merror  \x1b[0m" in shown
    assert b"\x1b" not in doctor("--section", "broker", "--config", tmp_path / "edgecls.yaml").out.encode()


AS_NOBODY = """
import os, sys
import rich.progress, service.commands.doctor, service.doctor.examine
from service.cli import main
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(main(["doctor", *sys.argv[1:]]))
"""


def test_a_user_who_may_read_nothing(open_folder: Path, free_port: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    file = write_config(open_folder, free_port, [images_line(open_folder)])
    os.chown(open_folder, 65534, 65534)
    file.chmod(0o640)
    sections = [word for name in ("configuration", "broker", "service") for word in ("--section", name)]
    command = [sys.executable, "-c", AS_NOBODY, "--config", str(file), *sections]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr
    assert "not foreseen" not in done.stdout
    assert "this user may not read it, so nothing in it was looked at" in done.stdout
    assert "-> sudo edgecls doctor" in done.stdout
    os.chown(open_folder, 0, 0)
    open_folder.chmod(0o700)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "not foreseen" not in done.stdout
    assert "this user may not read it, so nothing in it was looked at" in done.stdout
