"""A Debian with systemd as its first process, in systemd-nspawn, to install packages into. It needs root."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT

TREES = ROOT / "build/trees"
IN_TREE = ("dbus", "procps", "systemd", "systemd-sysv", "udev")
FETCHED = ("libstdc++6", "mosquitto", "mosquitto-clients", "python3", "python3-systemd")
"""What the packages need and the tests use: it lies ready for apt, as the tree has no network."""
BOOT_TIMEOUT_S = 60.0
CLEAN = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")


def need_nspawn() -> None:
    """Skip where a Debian cannot be booted."""
    for program, package in (("mmdebstrap", "mmdebstrap"), ("systemd-nspawn", "systemd-container")):
        if shutil.which(program) is None:
            pytest.skip(f"{package} is not installed; ./install.sh test --slow installs it")
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip("booting a Debian in systemd-nspawn needs root")


def fresh_tree(release: str) -> Path:
    """A Debian as it was just installed, without Python. Made once, a minute, and then kept in build/."""
    tree, ready = TREES / release, TREES / f"{release}.ready"
    made_of = " ".join((*IN_TREE, "-", *FETCHED))
    if ready.exists() and ready.read_text() == made_of:
        return tree
    ready.unlink(missing_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
    tree.parent.mkdir(parents=True, exist_ok=True)
    fetch = f'chroot "$1" apt-get install -qq -y --no-install-recommends --download-only {" ".join(FETCHED)}'
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--skip=cleanup/apt", f"--include={','.join(IN_TREE)}"]
    subprocess.run([*command, f"--customize-hook={fetch}", release, str(tree)], check=True)
    ready.write_text(made_of)
    return tree


class Machine:
    """A booted Debian."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        """Its files, as seen from outside."""
        self._leader = leader

    def command(self, *command: str) -> list[str]:
        """What runs a command on it."""
        return ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", *CLEAN, *command]

    def tries(self, *command: str, timeout_s: float = 180) -> "subprocess.CompletedProcess[str]":
        """Run a command, which may fail."""
        return subprocess.run(
            self.command(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=timeout_s,
        )  # fmt: skip

    def run(self, *command: str, timeout_s: float = 180) -> str:
        """Run a command that has to succeed; what it prints."""
        done = self.tries(*command, timeout_s=timeout_s)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        """What systemd says about a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()


def _first_process(nspawn: "subprocess.Popen[bytes]", console: Path) -> int:
    """The first process of the machine, when systemd answers."""
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while time.monotonic() < deadline and nspawn.poll() is None:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/root/run/systemd/private").is_socket():
            return int(children[0])
        time.sleep(0.05)
    raise TimeoutError(f"the machine does not boot:\n{console.read_text(errors='replace')}")


def _power_off(nspawn: "subprocess.Popen[bytes]", leader: int) -> None:
    nspawn.terminate()  # which it takes for the power button
    try:
        nspawn.wait(20)
    except subprocess.TimeoutExpired:
        subprocess.run(["kill", "-KILL", str(leader)], check=False)  # its whole PID namespace goes with it
        nspawn.wait(10)


@contextmanager
def booted(release: str, folder: Path, files: Sequence[tuple[Path, str]]) -> Iterator[Machine]:
    """A fresh machine without network; what happens on it is forgotten with the folder.

    Args:
        release: of Debian.
        folder: empty; on a disk that overlayfs can write to.
        files: what to put on it before it boots, and where.
    """
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for made in (upper, work, root):
        made.mkdir()
    layers = f"lowerdir={fresh_tree(release)},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(root)], check=True)
    try:
        for source, place in files:
            target = root / place.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        console = folder / "console"
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"]
        command += ["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only", "-D", str(root)]
        with console.open("wb") as log:
            nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        leader = 0
        try:
            leader = _first_process(nspawn, console)
            machine = Machine(root, leader)
            machine.tries("systemctl", "is-system-running", "--wait", timeout_s=BOOT_TIMEOUT_S)
            yield machine
        finally:
            _power_off(nspawn, leader)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)
