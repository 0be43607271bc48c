"""The Debian packages on a fresh Debian with a real systemd and a real broker: from apt install to purge."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import pytest
from booted import Machine, booted, need_nspawn
from conftest import ROOT
from debs import build, built
from schemas import validator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CONFIGURATION = """\
node: cell-7
model: /usr/share/edgecls/models/surface-demo
lines:
  - name: line1
    topic: factory/line1
    source: {video: /srv/clip.mp4, loop: true}
    publish: all
"""


@pytest.fixture(scope="module")
def release(request: pytest.FixtureRequest) -> str:
    """Of Debian; Debian 12 where a test does not ask for more."""
    return str(getattr(request, "param", "bookworm"))


@pytest.fixture(scope="module")
def packages(release: str) -> Sequence[Path]:
    need_nspawn()
    return built(release)


@pytest.fixture
def machine(packages: Sequence[Path], release: str, tmp_path: Path, clip: Path) -> Iterator[Machine]:
    reader = cv2.VideoCapture(str(clip))
    picture = tmp_path / "part.png"
    cv2.imwrite(str(picture), reader.read()[1])
    folder = tmp_path / "machine"
    folder.mkdir()
    files = [(clip, "/srv/clip.mp4"), (picture, "/srv/part.png")]
    with booted(release, folder, [*files, *((package, f"/root/{package.name}") for package in packages)]) as machine:
        yield machine


def install(machine: Machine) -> None:
    machine.run("sh", "-c", "apt-get install -y --no-install-recommends /root/*.deb mosquitto mosquitto-clients")


def kept(machine: Machine) -> list[str]:
    """What of edgecls is on the machine."""
    places = ["opt/edgecls", "usr/bin/edgecls", "usr/share/edgecls", "etc/edgecls", "etc/edgecls.yaml"]
    places += ["var/lib/edgecls", "var/cache/edgecls"]
    return [place for place in places if os.path.lexists(machine.root / place)]


def decisions(machine: Machine, count: int) -> list[dict[str, object]]:
    """What a subscriber receives from now on."""
    topic = "factory/line1/defects"
    lines = machine.run("mosquitto_sub", "-h", "127.0.0.1", "-t", topic, "-C", str(count), "-W", "60").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("release", ["bookworm", "trixie"], indirect=True)
def test_installed_it_decides_and_removed_it_is_gone(machine: Machine) -> None:
    install(machine)
    assert machine.property("edgecls", "ActiveState") == "active"
    assert machine.property("edgecls", "UnitFileState") == "enabled"
    assert set(machine.run("id", "-nG", "edgecls").split()) == {"edgecls", "video", "render"}
    assert machine.run("stat", "-c", "%a %U:%G", "/etc/edgecls.yaml").strip() == "640 root:edgecls"
    assert machine.run("edgecls", "--version").startswith("edgecls 0.")

    (machine.root / "etc/edgecls.yaml").write_text(CONFIGURATION)
    machine.run("edgecls", "check-config")
    machine.run("systemctl", "restart", "edgecls")
    received = decisions(machine, 3)
    for decision in received:
        validator("decision").validate(decision)
    assert [decision["node"] for decision in received] == ["cell-7"] * 3

    for backend in ("onnxruntime", "openvino"):
        (line,) = machine.run("edgecls", "classify", "--backend", backend, "--json", "/srv/part.png").splitlines()
        assert set(json.loads(line)["scores"]) == {"ok", "deformation", "scratch", "stain"}

    # Nobody writes into the environment, and nothing of Debian's Python packages is seen but systemd's bindings.
    assert machine.run("dpkg", "--verify", "edgecls", "edgecls-openvino", "edgecls-models").splitlines() == [
        "??5?????? c /etc/edgecls.yaml"
    ]
    ask = "import sys, importlib.util as u; print(*(p for p in sys.path if 'dist-packages' in p), u.find_spec('apt'))"
    assert machine.run("/opt/edgecls/bin/python3", "-Ic", ask).strip() == "None"

    # The same packages once more: what was edited stays, and the daemon is started again.
    before = machine.property("edgecls", "MainPID")
    machine.run("sh", "-c", "dpkg -i /root/*.deb")
    assert machine.property("edgecls", "MainPID") not in {before, "0"}
    assert (machine.root / "etc/edgecls.yaml").read_text() == CONFIGURATION
    assert decisions(machine, 1)

    machine.run("apt-get", "remove", "-y", "edgecls", "edgecls-openvino", "edgecls-models")
    assert machine.tries("systemctl", "is-active", "edgecls").stdout.strip() == "inactive"
    assert set(kept(machine)) == {"etc/edgecls", "etc/edgecls.yaml", "var/lib/edgecls", "var/cache/edgecls"}
    said = machine.run("sh", "-c", "dpkg --purge edgecls edgecls-openvino edgecls-models 2>&1")
    assert kept(machine) == []
    assert "not empty" not in said
    assert machine.run("systemctl", "--failed", "--no-legend").strip() == ""


def test_the_same_commit_gives_the_same_bytes(packages: Sequence[Path], tmp_path: Path) -> None:
    again = build(tmp_path, "bookworm", TZ="Asia/Tokyo", LC_ALL="C")
    for first, second in zip(packages, again, strict=True):
        assert first.name == second.name
        assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest(), first.name


def test_lintian_has_no_complaint(packages: Sequence[Path]) -> None:
    command = ["lintian", "--no-cfg", "--allow-root", "--fail-on", "error,warning", *map(str, packages)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_install_sh_installs_tunes_and_survives_an_interruption(machine: Machine) -> None:
    checkout = machine.root / "root/edgecls"
    (checkout / "packaging").mkdir(parents=True)
    for name in ("install.sh", "packaging/install-service.sh"):
        shutil.copy(ROOT / name, checkout / name)
    install_debs = ["sh", "-c", 'exec /root/edgecls/install.sh "$@" --deb /root/*.deb', "-", "install"]

    # Interrupted in the midst of apt-get, it lets it come to an end.
    program = subprocess.Popen(machine.command(*install_debs), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while machine.tries("pgrep", "-f", "^[^ ]*dpkg .*--unpack").returncode:
        assert time.monotonic() < deadline
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)
    machine.run("pkill", "-TERM", "-f", "^bash.*install[.]sh")
    said, _ = program.communicate(timeout=180)
    assert program.returncode == 1, said.decode()
    assert b"what apt-get had begun is done" in said, said.decode()
    assert machine.run("dpkg", "--audit") == ""

    (machine.root / "etc/edgecls.yaml").write_text(CONFIGURATION)
    printed = machine.run(*install_debs, timeout_s=300)
    assert "Device: " in printed
    assert "\nservice\n" in printed, "the doctor has looked at it"
    assert "sudo systemctl restart edgecls" in printed
    assert machine.property("edgecls", "ActiveState") == "active"
    assert (machine.root / "etc/edgecls.yaml").read_text() == CONFIGURATION
    assert machine.run("stat", "-c", "%U", "/var/lib/edgecls/tuning.json").strip() == "edgecls"
    # A second time there is nothing to tune.
    assert "stays as it was tuned" in machine.run(*install_debs)

    said_by_uninstall = machine.run("/root/edgecls/install.sh", "uninstall")
    assert "/etc/edgecls.yaml and /var/lib/edgecls stay" in said_by_uninstall
    assert "var/lib/edgecls" in kept(machine)
    machine.run("/root/edgecls/install.sh", "uninstall", "--purge")
    assert kept(machine) == []
    assert machine.run("/root/edgecls/install.sh", "uninstall").strip() == "edgecls is not installed."
