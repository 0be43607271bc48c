"""The files of a virtual machine: Debian on a disk, its own kernel, and what the kernel finds the disk with.

Made once for each processor, a minute or a few, and then kept in build/. It needs root.
"""

import hashlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

IMAGES = ROOT / "build/vm"
AGENT = ROOT / "tests/vm_agent.py"
AGENT_UNIT = """\
[Unit]
DefaultDependencies=no
After=local-fs.target
[Service]
ExecStart=/usr/bin/python3 -Su /usr/local/lib/agent.py
"""
"""It answers before anything else has come up, so that a test can ask what is slow."""
RELEASE = "bookworm"
DEBIAN = ("busybox-static", "dbus", "kmod", "procps", "systemd", "systemd-sysv", "udev")
NEEDED = ("libstdc++6", "mosquitto", "mosquitto-clients", "python3", "python3-systemd", "v4l-utils")
"""By the packages and the tests. To install it in the machine itself would take minutes."""
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
EARLY = ("virtio_pci", "virtio_blk", "ext4", "virtio_console")
"""Modules of the kernel, which on Debian has next to nothing built in: for the disk, and for the port of the agent."""
LATE = ("9pnet_virtio", "9p", "virtio_rng", "vivid")
"""Those that udev or a test loads. With all of Debian's, udev loads dozens for the board, which takes minutes."""
DISK = "4G"
"""Mostly a hole."""

HOOK = """#!/bin/sh
set -eu
chroot "$1" sh -euc '
    cd /tmp
    for image in $(apt-cache depends linux-image-{arch} | sed -n "s/^ *Depends: //p"); do
        apt-get -qq download "$image"
    done'
dpkg-deb -x "$1"/tmp/linux-image-*.deb "$1/tmp/kernel"
cp "$1"/tmp/kernel/boot/vmlinuz-* "$1/vmlinuz"
cd "$1/tmp/kernel"
version=$(ls lib/modules)
depmod -b . "$version"
show() {{ modprobe -d . --set-version "$version" --all --show-depends "$@"; }}
show {early} >"$1/needed"
show {early} {late} >all
sed -n 's,^insmod .*/lib/modules,lib/modules,p' all | sort -u | xargs cp -t "$1/usr" --parents
cp -t "$1/usr" --parents "lib/modules/$version"/modules.[bo]*
depmod -b "$1" "$version"
cd /
rm -r "$1"/tmp/*
"""
"""The kernel is unpacked, not installed, and by the host's processor: a foreign one takes long to make an initrd."""
UNITS_OFF = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("e2scrub_reap.service", "getty.target", "systemd-pstore.service", "modprobe@.service"),
)
"""What the machine has no use for."""
INSTALL = """
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
mount -t proc proc "$4/proc"
chroot "$4" sh -euc 'DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends /*.deb; rm /*.deb'
umount "$4/proc"
# All of it is many times slower there than on the slowest device.
mkdir "$4/etc/systemd/system/edgecls.service.d"
printf '[Service]\\nTimeoutStartSec=1800\\nWatchdogSec=900\\n' >"$4/etc/systemd/system/edgecls.service.d/slow.conf"
mke2fs -q -t ext4 -d "$4" "$5" "$6"
"""
INIT = """#!/busybox sh
/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /busybox insmod "/$module"; done
while ! [ -b /dev/vda ]; do /busybox sleep 0.1; done
/busybox mount -t ext4 -o noatime /dev/vda /root
/busybox mount --move /dev /root/dev
exec /busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Architecture:
    qemu: tuple[str, ...]
    package: str
    """Of Debian, with qemu for it."""
    console: str
    machine: str
    """As qemu and the kernel of a host call it."""


ARCHITECTURES = {
    "amd64": Architecture(
        ("qemu-system-x86_64", "-M", "q35", "-cpu", "max"), "qemu-system-x86", "ttyS0", "x86_64"
    ),
    # That of a Raspberry Pi 4.
    "arm64": Architecture(
        ("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"), "qemu-system-arm", "ttyAMA0", "aarch64"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    kernel: Path
    initrd: Path
    tree: Path
    """What is on the disk."""


def need_vm(arch: str) -> None:
    """Skip where a virtual machine with this processor cannot be made or run."""
    it = ARCHITECTURES[arch]
    needed = [
        (it.qemu[0], it.package),
        ("mmdebstrap", "mmdebstrap"),
        ("cpio", "cpio"),
        ("mke2fs", "e2fsprogs"),
        ("modprobe", "kmod"),
    ]
    if _is_foreign(arch):
        needed += [(f"qemu-{it.machine}-static", "qemu-user-static"), ("arch-test", "arch-test")]
    for program, package in needed:
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"{package} is not installed; ./install.sh test --slow installs it")
    if os.geteuid():
        pytest.skip("the disk of a virtual machine is made as root")


def _is_foreign(arch: str) -> bool:
    return os.uname().machine != ARCHITECTURES[arch].machine


def image(arch: str) -> Image:
    """Made anew when it would be made of something else."""
    recipe = "\n".join((RELEASE, *DEBIAN, *NEEDED, HOOK, *EARLY, *LATE, INIT, DISK))
    folder = IMAGES / f"{arch}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    made = Image(folder / "vmlinuz", folder / "initrd", folder / "tree")
    if not (folder / "ready").exists():
        for old in IMAGES.glob(f"{arch}-*"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        with _programs_run(arch):
            _make_tree(arch, made.tree)
        (made.tree / "vmlinuz").rename(made.kernel)
        _make_initrd(made.tree, made.initrd)
        (folder / "ready").touch()
    return made


def disk(arch: str, packages: Sequence[Path], folder: Path) -> Path:
    """A disk with these packages installed, besides what `image` has. Nothing on it has run yet.

    apt would take a quarter of an hour in the machine itself; here it is a minute, on a foreign processor a few.
    """
    upper, work, root, out = (folder / name for name in ("upper", "work", "root", "disk"))
    for made in (upper, work, root):
        made.mkdir()
    for package in packages:
        shutil.copy(package, upper)
    agent, units = upper / "usr/local/lib/agent.py", upper / "etc/systemd/system"
    wanted = units / "sysinit.target.wants/agent.service"
    for file in (agent, wanted):
        file.parent.mkdir(parents=True)
    shutil.copy(AGENT, agent)
    (units / "agent.service").write_text(AGENT_UNIT)
    wanted.symlink_to("../agent.service")
    for unit in UNITS_OFF:
        (units / unit).symlink_to("/dev/null")
    with _programs_run(arch):
        _run("unshare", "--mount", "sh", "-euc", INSTALL, "-", image(arch).tree, upper, work, root, out, DISK)
    shutil.rmtree(upper)
    return out


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": PATH}
    )
    assert done.returncode == 0, f"{' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


@contextmanager
def _programs_run(arch: str) -> Iterator[None]:
    """The programs of a foreign processor run meanwhile, here and in any other root directory."""
    name = f"qemu-{ARCHITECTURES[arch].machine}"
    if not _is_foreign(arch) or (BINFMT / name).exists():
        yield
        return
    mounted = not (BINFMT / "register").exists()
    if mounted:
        _run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    try:
        rule = Path(f"/usr/lib/binfmt.d/{name}.conf").read_text()
        (BINFMT / "register").write_text(rule.strip())
        yield
        (BINFMT / name).write_text("-1")
    finally:
        if mounted:
            _run("umount", BINFMT)


def _make_tree(arch: str, tree: Path) -> None:
    hook = tree.with_name("hook")
    hook.write_text(HOOK.format(arch=arch, early=" ".join(EARLY), late=" ".join(LATE)))
    hook.chmod(0o755)
    # Its mounts of /proc and others are seen by nobody else, and gone with it if it is killed.
    command = ("unshare", "--mount", "mmdebstrap", "--quiet", f"--architectures={arch}", "--variant=minbase")
    _run(*command, f"--include={','.join((*DEBIAN, *NEEDED))}", f"--customize-hook={hook}", RELEASE, tree)
    (tree / "etc/fstab").write_text("/dev/vda / ext4 rw,noatime 0 0\n")
    (tree / "etc/hostname").write_text("vm\n")
    # Empty would be a first boot, at which systemd looks at every unit there is and reads all catalogues.
    (tree / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")


def _make_initrd(tree: Path, initrd: Path) -> None:
    root = tree.with_name("initrd.root")
    (root / "dev").mkdir(parents=True)
    (root / "root").mkdir()
    shutil.copy(tree / "usr/bin/busybox", root)
    needed = tree / "needed"
    modules = []
    for line in needed.read_text().splitlines():
        kind, _, path = line.strip().partition(" ")  # insmod FILE, or builtin NAME
        name = Path(path).name
        if kind == "insmod" and name not in modules:
            shutil.copy(next((tree / "usr/lib/modules").rglob(name)), root)
            modules.append(name)
    needed.unlink()
    (root / "init").write_text(INIT.format(modules=" ".join(modules)))
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    with initrd.open("wb") as out:
        subprocess.run(("cpio", "--quiet", "-o", "-H", "newc"), cwd=root, input=names.encode(), stdout=out, check=True)
    shutil.rmtree(root)
