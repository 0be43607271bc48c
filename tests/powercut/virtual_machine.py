"""A virtual machine that sleeps just before it decides, woken as often as wanted, with the disk as it is then.

To boot Linux and to import numpy and OpenCV takes most of a minute where every instruction is translated (no KVM is
asked for). So that is done once, without a disk, and the machine's memory is saved to a file (`migrate`). A machine
that is woken from it has seen nothing of the disk, gets the time and fresh randomness, and mounts the disk like after
a boot.

Nothing is installed and nothing needs root: the kernel is Debian's, unpacked; the file system in memory holds exactly
the files that a dry run of the guest's program has used.
"""

import functools
import hashlib
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

HERE = Path(__file__).parent
BUILD = ROOT / "build/powercut"
PROGRAM = HERE / "deciding_guest.py"
PYTHONPATH = f"{ROOT}:{ROOT}/tests:{sysconfig.get_path('purelib')}"
PYTHON = (str(Path(sys.executable).resolve()), "-SB")
KERNEL = "linux-image-cloud-amd64"
"""Debian's for virtual machines: smaller, and ext4 is built in."""
MODULES = (
    *("virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev"),
    *("virtio/virtio_pci", "block/virtio_blk"),
)
"""In this order; the last one once there is a disk to be seen."""
QEMU = (
    *("qemu-system-x86_64", "-M", "pc,accel=tcg", "-cpu", "max", "-m", "1024"),
    *("-nodefaults", "-no-reboot", "-display", "none"),
)
INIT = """#!/guest/busybox sh
b=/guest/busybox
$b mkdir -p /proc /sys /dev /tmp /guest/disk
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
$b ip link set lo up
for m in {modules}; do $b insmod /guest/$m.ko; done
PYTHONPATH={path} {python} {program}
echo "the guest's program ended with exit status $?"
$b poweroff -f
"""


class PoweredMachine:
    """A machine that runs, and what it says on its serial line."""

    def __init__(self, disk: str) -> None:
        """Wake it. `disk` is what qemu's `-drive` says about it."""
        state = asleep()
        self._process = subprocess.Popen(
            [
                *(*QEMU, *_boot(state.parent), *_disk(disk), *_console(state.parent)),
                *("-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out"),
                *("-incoming", f"exec:cat '{state}'"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.set_blocking(self._out, False)
        self._rest = b""

    @property
    def _out(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def start(self, seed: int) -> None:
        """Let the program go on."""
        start = {"seed": seed, "now_s": time.time(), "entropy": os.urandom(64).hex()}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(start).encode() + b"\n")
        self._process.stdin.flush()

    def reports(self) -> Iterator[dict[str, Any]]:
        """Those that have come by now. An unfinished line waits for its rest."""
        while True:
            try:
                chunk = os.read(self._out, 1 << 20)
            except BlockingIOError:
                chunk = b""
            if not chunk:
                return
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines)

    def complaint(self) -> str:
        """Why it is gone; empty while it runs."""
        if self._process.poll() is None:
            return ""
        assert self._process.stderr is not None
        console = (asleep().parent / "console.log").read_text(errors="replace")[-2000:]
        return f"qemu ended: {self._process.stderr.read().decode()}\n{console}"

    def cut(self) -> None:
        """The power goes: qemu is killed, and with it all that was in the guest's memory."""
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        self.cut()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@functools.cache
def asleep() -> Path:
    """The memory of a machine that waits for its start, made when the code has changed since the last time."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("the virtual machine is of the kind of its host, and only made for x86-64 Linux")
    for name in ("qemu-system-x86_64", "busybox", "cpio", "mke2fs", "nbdkit", "apt-get", "dpkg-deb"):
        if shutil.which(name, path=_path()) is None:
            pytest.skip(f"{name} is missing; ./install.sh test --slow installs it on Debian")
    kernel = _kernel()
    taken = sorted(_files_of_the_program())
    # Names and times: that is what tells one environment, or one state of the code, from another.
    stamps = [f"{name} {os.lstat(name).st_size} {os.lstat(name).st_mtime_ns}" for name in taken if Path(name).is_file()]
    recipe = "\n".join([str(kernel), Path(__file__).read_text(), *stamps])
    folder = BUILD / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if not (folder / "state").exists():
        for old in BUILD.glob("*/state"):
            shutil.rmtree(old.parent)
        folder.mkdir(parents=True, exist_ok=True)
        _make_initrd(kernel, taken, folder)
        _put_to_sleep(folder)
    return folder / "state"


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def run(*command: object, **environment: str) -> str:
    """What a command prints; if it fails, what it says is in the error."""
    words = [str(word) for word in command]
    own = {**os.environ, "PATH": _path(), **environment}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=own)
    assert done.returncode == 0, f"{' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def _kernel() -> Path:
    """Debian's kernel, unpacked, fetched once."""
    folder = BUILD / "kernel"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        depends = subprocess.run(
            ["apt-cache", "depends", KERNEL], capture_output=True, text=True, check=False
        ).stdout.split()
        images = [word for word in depends if word.startswith("linux-image-")]
        fetched = subprocess.run(["apt-get", "download", *images[-1:]], cwd=folder, capture_output=True, check=False)
        packages = list(folder.glob("*.deb"))
        if fetched.returncode or not packages:
            pytest.skip(f"the Debian package {KERNEL} cannot be had: {fetched.stderr.decode()[-500:]}")
        run("dpkg-deb", "-x", packages[0], folder)
        packages[0].unlink()
        (folder / "complete").touch()
    return folder


def _files_of_the_program() -> set[str]:
    dry = BUILD / "dry-run"
    shutil.rmtree(dry, ignore_errors=True)
    dry.mkdir(parents=True)
    return set(run(*PYTHON, HERE / "guest_files.py", dry, PYTHONPATH=PYTHONPATH).split("\n")) - {""}


def _make_initrd(kernel: Path, taken: Sequence[str], folder: Path) -> None:
    root = folder / "root"
    own = root / "guest"
    own.mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, own)
    for module in MODULES:
        shutil.copy(next(kernel.glob(f"**/drivers/{module}.ko")), own)
    names = [Path(module).name for module in MODULES]
    init = INIT.format(modules=" ".join(names[:-1]), path=PYTHONPATH, python=" ".join(PYTHON), program=PROGRAM)
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    ours = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
    cpio = ("cpio", "--quiet", "-o", "-H", "newc")
    with (folder / "initrd").open("wb") as initrd:
        for where, names in ((Path("/"), [name[1:] for name in taken]), (root, ours)):
            subprocess.run(cpio, cwd=where, input="\n".join(names).encode(), stdout=initrd, check=True)


def _put_to_sleep(folder: Path) -> None:
    said, state = folder / "ready", folder / "state.unfinished"
    machine = subprocess.Popen(
        [
            *(*QEMU, *_boot(folder), *_disk("driver=null-co,size=256M"), *_console(folder)),
            *("-serial", f"file:{said}", "-monitor", "stdio"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 300
        while not (said.exists() and b"ready" in said.read_bytes()):
            console = (folder / "console.log").read_text(errors="replace") if said.exists() else ""
            assert machine.poll() is None, f"the machine went off: {console[-2000:]}"
            assert time.monotonic() < deadline, f"the machine does not come up: {console[-2000:]}"
            time.sleep(0.1)
        commands = f"migrate_set_parameter max-bandwidth 10G\nmigrate \"exec:cat > '{state}'\"\nquit\n"
        out, _ = machine.communicate(commands.encode(), timeout=100)
    finally:
        machine.kill()
        machine.wait(10)
    assert state.exists(), out.decode()
    state.rename(folder / "state")


def _boot(folder: Path) -> list[str]:
    command_line = "console=ttyS0 quiet panic=-1 mitigations=off init_on_free=1 random.trust_cpu=on"
    return [
        "-kernel",
        str(next(_kernel().glob("boot/vmlinuz-*"))),
        "-initrd",
        str(folder / "initrd"),
        "-append",
        command_line,
    ]


def _disk(drive: str) -> list[str]:
    return ["-drive", f"if=none,id=disk,{drive}", "-device", "virtio-blk-pci,drive=disk"]


def _console(folder: Path) -> list[str]:
    return ["-serial", f"file:{folder / 'console.log'}"]


def new_seed() -> int:
    return int(os.environ.get("EDGECLS_POWERCUT_SEED", random.randrange(1_000_000)))
