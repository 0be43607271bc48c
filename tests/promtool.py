"""Prometheus' own checker. Debian's package prometheus starts a server when it is installed, so it is only unpacked."""

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

RULES = ROOT / "docs/examples/prometheus/edgecls.rules.yml"
UNPACKED = ROOT / "build/promtool"


def promtool() -> str:
    """The program: the installed one, else the one in `build/`, fetched once."""
    if (found := shutil.which("promtool")) is not None:
        return found
    UNPACKED.parent.mkdir(exist_ok=True)
    with UNPACKED.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        program = UNPACKED / "usr/bin/promtool"
        if not program.exists():
            _fetch(UNPACKED)
    return str(program)


def check(*words: str, given: bytes = b"") -> "subprocess.CompletedProcess[str]":
    """`promtool check …`."""
    command = [promtool(), "check", *words]
    return subprocess.run(command, input=given.decode(), capture_output=True, text=True, check=False, timeout=120)


def _fetch(folder: Path) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("promtool is not installed, and there is no apt-get to fetch it with")
    half = folder.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    fetch = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
    done = subprocess.run(fetch, cwd=half, capture_output=True, text=True, check=False, timeout=300)
    packages = list(half.glob("*.deb"))
    if done.returncode or not packages:
        pytest.skip(f"promtool is not installed, and its package cannot be fetched: {done.stderr.strip()}")
    subprocess.run(["dpkg-deb", "-x", packages[0], half], check=True, timeout=120)
    packages[0].unlink()
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)
