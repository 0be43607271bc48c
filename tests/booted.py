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
FETCHED = ("autopkgtest", "dpkg-dev", "libstdc++6", "mosquitto", "mosquitto-clients", "python3", "python3-systemd",
           "unattended-upgrades")  # fmt: skip
"""What the packages need and the tests use: it lies ready for apt, as the tree has no network."""
BOOT_TIMEOUT_S = 60.0
POWER_OFF_TIMEOUT_S = 60.0
"""Its services have to end before."""
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
    # In a view of its own: what it has mounted when it is interrupted must not lie in the way of what removes the tree.
    command = [
        "unshare",
        "--mount",
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--skip=cleanup/apt",
        f"--include={','.join(IN_TREE)}",
    ]
    subprocess.run([*command, f"--customize-hook={fetch}", release, str(tree)], check=True)
    ready.write_text(made_of)
    return tree


class Machine:
    """A Debian that can be switched on and off.

    Args:
        root: its files, as seen from outside.
        console: where its console goes.
    """

    def __init__(self, root: Path, console: Path) -> None:
        self.root = root
        self._console = console
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def switch_on(self) -> None:
        """Returns when everything has started that starts at boot."""
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"]
        command += ["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=read-only"]
        with self._console.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [*command, "-D", str(self.root)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._leader = self._first_process(self._nspawn)
        self.tries("systemctl", "is-system-running", "--wait", timeout_s=BOOT_TIMEOUT_S)

    def switch_off(self) -> None:
        """As with the power button. Does nothing when it is off."""
        if self._nspawn is None:
            return
        self._nspawn.terminate()  # which it takes for that button
        try:
            self._nspawn.wait(POWER_OFF_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
            subprocess.run(["kill", "-KILL", *children], check=False)  # its whole PID namespace goes with the first
            self._nspawn.wait(10)
        self._nspawn = None

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

    def _first_process(self, nspawn: "subprocess.Popen[bytes]") -> int:
        """The first process of the machine, when systemd answers."""
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while time.monotonic() < deadline and nspawn.poll() is None:
            children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/root/run/systemd/private").is_socket():
                return int(children[0])
            time.sleep(0.05)
        raise TimeoutError(f"the machine does not boot:\n{self._console.read_text(errors='replace')}")


@contextmanager
def booted(release: str, folder: Path, files: Sequence[tuple[Path, str]]) -> Iterator[Machine]:
    """A fresh machine without network, switched on; what happens on it is forgotten with the folder.

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
        machine = Machine(root, folder / "console")
        try:
            machine.switch_on()
            yield machine
        finally:
            machine.switch_off()
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)
