"""A virtual machine with a real kernel: cgroup v2 and its limits, and a camera of Video4Linux. It needs root, no KVM.

systemd-nspawn (`booted.py`) boots in less than a second, but has the host's kernel: what that cannot do is tested here.
"""

import base64
import json
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from booted import CLEAN
from vm_image import ARCHITECTURES, disk, image

BOOT_TIMEOUT_S = 1200.0
ANSWER_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 600.0
"""A busy host makes it slower still; none of these is a measure of anything."""
SHARED = "/shared"


class Agent:
    """Debian's qemu-guest-agent in a machine: runs commands there, as root."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._rest = b""

    def wait(self) -> None:
        """Until it runs: it answers then what was asked before."""
        self._socket.settimeout(BOOT_TIMEOUT_S)
        self.ask("guest-sync", id=1)
        self._socket.settimeout(ANSWER_TIMEOUT_S)

    def ask(self, execute: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")
        while b"\n" not in self._rest:
            chunk = self._socket.recv(1 << 20)
            assert chunk, "the machine has gone off"
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        answer = json.loads(line)
        assert "return" in answer, answer
        return answer["return"]

    def close(self) -> None:
        self._socket.close()


class VirtualMachine:
    """A booted Debian."""

    def __init__(self, agent: Agent, shared: Path) -> None:
        self._agent = agent
        self.shared = shared
        """A folder of the host, which the machine has as `/shared`."""

    def tries(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> "subprocess.CompletedProcess[str]":
        """Run a command, which may fail."""
        asked = {"path": CLEAN[0], "arg": [*CLEAN[1:], *command], "capture-output": True}
        pid = self._agent.ask("guest-exec", **asked)["pid"]
        deadline, pause_s = time.monotonic() + timeout_s, 0.1
        while not (status := self._agent.ask("guest-exec-status", pid=pid))["exited"]:
            assert time.monotonic() < deadline, f"{shlex.join(command)} has not ended after {timeout_s:.0f} s"
            # Each question costs: it is in the machine's log.
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 5)
        out, err = (base64.b64decode(status.get(name, "")).decode() for name in ("out-data", "err-data"))
        return subprocess.CompletedProcess(command, status.get("exitcode", -status.get("signal", 0)), out, err)

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
    shared, agent_socket, console = folder / "shared", folder / "agent", folder / "console"
    shared.mkdir()
    command = [
        *(*it.qemu, "-accel", "tcg", "-smp", "2", "-m", "2048", "-nodefaults", "-no-reboot", "-display", "none"),
        *("-kernel", str(files.kernel), "-initrd", str(files.initrd)),
        *("-append", f"console={it.console} quiet panic=-1 mitigations=off"),
        *("-serial", f"file:{console}"),
        *("-drive", f"file={its_disk},format=raw,if=none,id=disk,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=agent,path={agent_socket},server=on,wait=off"),
        *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        *("-virtfs", f"local,path={shared},mount_tag=shared,security_model=none"),
    ]
    with (folder / "qemu.log").open("wb") as log:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not agent_socket.exists():
            assert qemu.poll() is None, (folder / "qemu.log").read_text()
            time.sleep(0.05)
        agent = Agent(agent_socket)
        try:
            agent.wait()
        except (TimeoutError, AssertionError) as error:
            said = console.read_text(errors="replace")[-3000:] + (folder / "qemu.log").read_text()
            raise AssertionError(f"the machine does not boot: {error}\n{said}") from error
        machine = VirtualMachine(agent, shared)
        machine.tries("systemctl", "is-system-running", "--wait", timeout_s=BOOT_TIMEOUT_S)
        machine.run("mkdir", SHARED)
        machine.run("mount", "-t", "9p", "-o", "trans=virtio,version=9p2000.L,msize=262144", "shared", SHARED)
        yield machine
        agent.close()
    finally:
        qemu.kill()  # it has nothing to keep
        qemu.wait(10)
        its_disk.unlink()
