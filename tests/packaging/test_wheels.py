"""What goes from the lock and the wheels into the packages, and the pages that are made for them."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

METADATA = "Metadata-Version: 2.4\nName: some\nVersion: 1.0\n"


def run(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "packaging" / script), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})


def locked(python: str, machine: str) -> dict[str, str]:
    done = run("wheels.py", "lock", ROOT / "requirements.lock", "--python", python, "--machine", machine)
    assert done.returncode == 0, done.stderr
    entries = re.split(r"\n(?=\S)", done.stdout.strip())
    assert all("--hash=sha256:" in entry and ";" not in entry for entry in entries)
    return {entry.split("==")[0]: entry.split()[0].split("==")[1] for entry in entries}


def test_what_is_packed_is_that_of_the_target_and_not_of_the_python_that_asks() -> None:
    jammy, trixie = locked("3.10", "aarch64"), locked("3.13", "x86_64")
    assert jammy["onnxruntime"] != trixie["onnxruntime"]
    assert jammy["numpy"] != trixie["numpy"]
    for packed in (jammy, trixie):
        assert {"openvino", "opencv-python-headless", "amqtt", "paho-mqtt"} <= set(packed)
        assert not {"setuptools", "systemd-python", "tqdm", "sympy", "colorama"} & set(packed)


def wheel_of(folder: Path, files: dict[str, str]) -> Path:
    wheel = folder / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def lay(wheel: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    return run("wheels.py", "lay", wheel, "--site", folder / "site", "--licences", folder / "licences")


def found(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_code_licences_and_what_never_runs_go_their_ways(tmp_path: Path) -> None:
    wheel = wheel_of(
        tmp_path,
        {
            "some/__init__.py": "",
            "some/licences.py": "",
            "some/__init__.pyi": "",
            "some/tests/test_it.py": "",
            "some/NOTICE.txt": "",
            "some-1.0.dist-info/METADATA": METADATA + "License-Expression: MIT\n",
            "some-1.0.dist-info/RECORD": "",
            "some-1.0.dist-info/licenses/parts/LICENSE": "",
        },
    )
    done = lay(wheel, tmp_path)
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "site") == {"some/__init__.py", "some/licences.py", "some-1.0.dist-info/METADATA"}
    assert found(tmp_path / "licences") == {"some-1.0/SUMMARY", "some-1.0/parts/LICENSE", "some-1.0/NOTICE.txt"}
    assert (tmp_path / "licences/some-1.0/SUMMARY").read_text() == "some 1.0: MIT\n"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"some-1.0.data/scripts/some": ""}, "belongs elsewhere"),
        ({"some/__init__.py": ""}, "says nothing about its licence"),
    ],
)
def test_a_wheel_that_cannot_be_packed_is_refused(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    done = lay(wheel_of(tmp_path, {**files, "some-1.0.dist-info/METADATA": METADATA}), tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_the_completion_knows_every_command_and_option() -> None:
    done = run("complete.py")
    assert done.returncode == 0, done.stderr
    shipped = (ROOT / "packaging/bash-completion/edgecls").read_text(encoding="utf-8")
    assert shipped == done.stdout, "python packaging/complete.py > packaging/bash-completion/edgecls"


def test_the_manual_page_has_every_key_of_the_configuration() -> None:
    source = ROOT / "docs/configuration.md"
    done = run("manual.py", source, "November 22, 2026")
    assert done.returncode == 0, done.stderr
    keys = re.findall(r"^\| `(\S+)`", source.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(keys) > 30
    assert {key for key in keys if not re.search(rf"^\.It {re.escape(key)}\b", done.stdout, re.MULTILINE)} == set()
    commands = {line.split()[0] for line in done.stdout.splitlines() if line.startswith((".", "'"))}
    assert commands <= {
        f".{name}" for name in ["Bd", "Bl", "Dd", "Dt", "Ed", "El", "It", "Nd", "Nm", "Os", "Pp", "Sh", "Ss", "Xr"]
    }
