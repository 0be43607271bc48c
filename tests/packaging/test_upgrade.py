"""From the version before to this one: by apt and by a signed repository; and what is said when it does not start."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from booted import Machine, booted, need_nspawn
from conftest import ROOT
from debs import BEFORE, built, built_before
from durable_subscriber import DurableSubscriber, keep_everything

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

EDITED = """\
node: cell-7  # ours
model: /usr/share/edgecls/models/surface-demo
lines:
  - name: line1
    topic: factory/line1
    source: {video: /srv/clip.mp4, loop: true}
    decide: {per: frame}
    publish: all
"""
BROKER = ("mosquitto", "mosquitto-clients")
KEEP_OURS = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
APT_INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", *KEEP_OURS)
REPOSITORY = """\
Types: deb
URIs: file:/srv/repo
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/edgecls.gpg
"""
ALONE = ("-o", "Dir::Etc::sourcelist=sources.list.d/edgecls.sources", "-o", "Dir::Etc::sourceparts=-",
         "-o", "APT::Get::List-Cleanup=0")  # fmt: skip
"""Debian's own repository is not there: the machine has no network."""


def light(packages: Sequence[Path]) -> list[Path]:
    return [package for package in packages if "openvino" not in package.name]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With the packages of both versions in /root, none of them installed."""
    need_nspawn()
    packages = [*light(built_before("bookworm")), *built("bookworm")]
    files = [(ROOT / "models/demo/conveyor.mp4", "/srv/clip.mp4"), *((p, f"/root/{p.name}") for p in packages)]
    folder = tmp_path / "machine"
    folder.mkdir()
    with booted("bookworm", folder, files) as machine:
        yield machine


def installed_version(machine: Machine) -> str:
    return machine.run("edgecls", "--version").split()[1]


def configure(machine: Machine, text: str) -> None:
    (machine.root / "etc/edgecls.yaml").write_text(text)
    machine.run("systemctl", "restart", "edgecls")


def test_an_upgrade_keeps_what_there_is_and_says_when_it_does_not_start(machine: Machine) -> None:
    machine.run("sh", "-c", f"{' '.join(APT_INSTALL)} /root/*_{BEFORE}-*.deb {' '.join(BROKER)}")
    assert installed_version(machine) == BEFORE
    keep_everything(machine)
    machine.run("systemctl", "restart", "mosquitto")
    subscriber = DurableSubscriber(machine, "upgrade")
    configure(machine, EDITED)
    machine.run("runuser", "-u", "edgecls", "--", "edgecls", "tune", "--seconds", "5")
    tuned = (machine.root / "var/lib/edgecls/tuning.json").read_bytes()
    subscriber.wait_for("line1", lambda now: len(now) >= 30)
    machine.run("systemctl", "stop", "mosquitto")
    time.sleep(2)  # so that something waits in the outbox
    before = machine.property("edgecls", "MainPID")

    now = [f"/root/{package.name}" for package in light(built("bookworm"))]
    said = machine.run(*APT_INSTALL, *now)
    assert "does not start" not in said
    assert installed_version(machine) != BEFORE
    assert machine.property("edgecls", "ActiveState") == "active"
    assert machine.property("edgecls", "MainPID") not in ("0", before)
    assert (machine.root / "etc/edgecls.yaml").read_text() == EDITED
    assert (machine.root / "var/lib/edgecls/tuning.json").read_bytes() == tuned

    machine.run("systemctl", "start", "mosquitto")
    seen = subscriber.wait_for_the_backlog("line1")
    assert [decision["part"] for decision in seen] == list(range(1, len(seen) + 1))
    assert {decision["node"] for decision in seen} == {"cell-7"}

    # As if a version had come that does not know a key any more.
    wrong = EDITED.replace("publish: all", "publish: some")
    (machine.root / "etc/edgecls.yaml").write_text(wrong)
    done = machine.tries("dpkg", "-i", *now)
    assert done.returncode == 0, done.stderr
    assert "does not start now" in done.stderr
    assert "edgecls check-config" in done.stderr
    assert "--allow-downgrades" in done.stderr
    shown = machine.tries("systemctl", "status", "--no-pager", "--full", "edgecls").stdout
    assert "lines[0].publish: must be one of defects, all" in shown
    assert "systemctl restart edgecls" in shown
    assert (machine.root / "etc/edgecls.yaml").read_text() == wrong
    # What it says to do helps.
    machine.run("sh", "-c", f"{' '.join(APT_INSTALL)} --allow-downgrades /root/*_{BEFORE}-*.deb")
    configure(machine, EDITED)
    assert installed_version(machine) == BEFORE
    assert machine.property("edgecls", "ActiveState") == "active"


@pytest.fixture
def keys() -> Iterator[Path]:
    """gpg's home with two keys; its sockets want a short path."""
    home = Path(tempfile.mkdtemp(prefix="edgecls-keys-"))
    home.chmod(0o700)
    for name in ("ours", "theirs"):
        gpg(home, "--batch", "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never")
    yield home
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    shutil.rmtree(home)


def gpg(home: Path, *arguments: str) -> bytes:
    return subprocess.run(["gpg", "--homedir", home, *arguments], check=True, capture_output=True).stdout


def publish(keys: Path, packages: Sequence[Path], out: Path) -> str:
    command = [str(ROOT / "packaging/build-repo.sh"), "--key", "ours", "--out", str(out), *map(str, packages)]
    environment = {**os.environ, "GNUPGHOME": str(keys)}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.mark.skipif(shutil.which("reprepro") is None, reason="reprepro is not installed; ./install.sh test --slow does")
def test_a_fleet_is_upgraded_by_a_signed_repository(machine: Machine, keys: Path) -> None:
    machine.run("sh", "-c", f"{' '.join(APT_INSTALL)} unattended-upgrades {' '.join(BROKER)}")
    repository = machine.root / "srv/repo"
    listed = publish(keys, light(built_before("bookworm")), repository)
    assert f"bookworm|main|amd64: edgecls {BEFORE}-1~deb12u1" in listed
    key = machine.root / "etc/apt/keyrings/edgecls.gpg"
    key.write_bytes(gpg(keys, "--export", "theirs"))
    (machine.root / "etc/apt/sources.list.d/edgecls.sources").write_text(REPOSITORY)

    # Signed by somebody else it is not believed.
    refused = machine.tries("apt-get", "update", *ALONE)
    assert refused.returncode != 0
    assert "is not signed" in refused.stderr
    assert machine.tries(*APT_INSTALL, "edgecls").returncode != 0

    shutil.copy(repository / "edgecls.gpg", key)
    machine.run("apt-get", "update", *ALONE)
    machine.run(*APT_INSTALL, "edgecls", "edgecls-models")
    assert installed_version(machine) == BEFORE
    configure(machine, EDITED)

    # The page for fleets has what a device needs.
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    snippet = page.partition("`/etc/apt/apt.conf.d/52edgecls`:\n\n```\n")[2].partition("```")[0]
    assert "Origins-Pattern" in snippet
    (machine.root / "etc/apt/apt.conf.d/52edgecls").write_text(snippet)
    publish(keys, light(built("bookworm")), repository)
    machine.run("apt-get", "update", *ALONE)
    said = machine.run("unattended-upgrade", "--verbose")
    assert "edgecls edgecls-models" in said
    assert installed_version(machine) != BEFORE
    assert machine.property("edgecls", "ActiveState") == "active"
    assert (machine.root / "etc/edgecls.yaml").read_text() == EDITED
    versions = machine.run("dpkg-query", "-W", "-f", "${Version}\n", "edgecls", "edgecls-models").split()
    assert len(set(versions)) == 1


def test_the_installed_packages_pass_their_own_test(machine: Machine) -> None:
    shutil.copytree(ROOT / "packaging/debian", machine.root / "root/source/debian")
    version = built("bookworm")[0].name.split("_")[1]
    (machine.root / "root/source/debian/changelog").write_text(
        f"edgecls ({version}) bookworm; urgency=medium\n\n  * As built.\n\n"
        " -- edgecls developers <edgecls@example.org>  Sun, 22 Nov 2026 00:00:00 +0000\n"
    )
    machine.run("sh", "-c", f"{' '.join(APT_INSTALL)} autopkgtest dpkg-dev {' '.join(BROKER)}")
    debs = [f"/root/{package.name}" for package in built("bookworm")]
    # The machine is the container that it asks for.
    command = ("autopkgtest", "--no-built-binaries", "--ignore-restrictions=isolation-container", *debs, "/root/source")
    done = machine.tries(*command, "--", "null", timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^smoke +PASS$", done.stdout, re.MULTILINE), done.stdout
