"""A virtual machine with a real kernel: cgroup v2 and its limits, and a camera of Video4Linux. It needs root, no KVM.

systemd-nspawn (`booted.py`) boots in less than a second, but has the host's kernel: what that cannot do is tested here.
"""

import json
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vm_image import ARCHITECTURES, disk, image

BOOT_TIMEOUT_S = 1800.0
COMMAND_TIMEOUT_S = 1200.0
"""A busy host makes it slower still; none of these is a measure of anything."""
SHARED = "/shared"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class VirtualMachine:
    """A booted Debian.

    Args:
        port: of the agent in it (`vm_agent.py`).
        shared: a folder of the host, which the machine has as `/shared`.
    """

    def __init__(self, port: Path, shared: Path) -> None:
        self.shared = shared
        self._port = socket.socket(socket.AF_UNIX)
        self._port.connect(str(port))
        self._rest = b""

    def tries(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> "subprocess.CompletedProcess[str]":
        """Run a command, which may fail."""
        asked = {"command": command, "environment": ENVIRONMENT}
        self._port.settimeout(timeout_s)
        try:
            self._port.sendall(json.dumps(asked).encode() + b"\n")
            while b"\n" not in self._rest:
                chunk = self._port.recv(1 << 20)
                assert chunk, "the machine has gone off"
                self._rest += chunk
        except TimeoutError:
            raise AssertionError(f"{shlex.join(command)} has not ended after {timeout_s:.0f} s") from None
        line, self._rest = self._rest.split(b"\n", 1)
        return subprocess.CompletedProcess(command, **json.loads(line))

    def run(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command that has to succeed; what it prints."""
        done = self.tries(*command, timeout_s=timeout_s)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def property(self, unit: str, name: str) -> str:
        """What systemd says about a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()


@contextmanager
def virtual_machine(arch: str, packages: Sequence[Path], folder: Path) -> Iterator[VirtualMachine]:
    """A fresh machine without network, booted; what happens on it is forgotten.

    Args:
        arch: of Debian: amd64 or arm64 (a Cortex-A72). Nothing of it runs on the host's processor, so it is slow.
        packages: installed before it boots.
        folder: empty; on a disk that overlayfs can write to.
    """
    it, files = ARCHITECTURES[arch], image(arch)
    its_disk = disk(arch, packages, folder)
    shared, port, console = folder / "shared", folder / "port", folder / "console"
    shared.mkdir()
    command = [
        *(*it.qemu, "-accel", "tcg", "-smp", "2", "-m", "2048", "-nodefaults", "-no-reboot", "-display", "none"),
        *("-kernel", str(files.kernel), "-initrd", str(files.initrd)),
        *("-append", f"console={it.console} quiet panic=-1 mitigations=off"),
        *("-serial", f"file:{console}"),
        *("-drive", f"file={its_disk},format=raw,if=none,id=disk,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={port},server=on,wait=off"),
        *("-device", "virtserialport,chardev=agent,name=agent"),
        *("-virtfs", f"local,path={shared},mount_tag=shared,security_model=none"),
    ]
    with (folder / "qemu.log").open("wb") as log:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not port.exists():
            assert qemu.poll() is None, (folder / "qemu.log").read_text()
            time.sleep(0.05)
        machine = VirtualMachine(port, shared)
        try:
            machine.run("true", timeout_s=BOOT_TIMEOUT_S)
        except AssertionError as error:
            said = console.read_text(errors="replace")[-3000:] + (folder / "qemu.log").read_text()
            raise AssertionError(f"the machine does not boot: {error}\n{said}") from error
        machine.tries("systemctl", "is-system-running", "--wait", timeout_s=BOOT_TIMEOUT_S)
        machine.run("mkdir", SHARED)
        machine.run("mount", "-t", "9p", "-o", "trans=virtio,version=9p2000.L,msize=262144", "shared", SHARED)
        yield machine
    finally:
        qemu.kill()  # it has nothing to keep
        qemu.wait(10)
        its_disk.unlink()
