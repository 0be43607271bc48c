"""Prometheus' own checker. It is in Debian's package prometheus, which starts a server when it is installed: so the
package is only unpacked, once, into build/."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

UNPACKED = ROOT / "build/promtool"


def promtool() -> str:
    """The program."""
    if (found := shutil.which("promtool")) is not None:
        return found
    program = UNPACKED / "usr/bin/promtool"
    if not program.exists():
        if shutil.which("apt-get") is None:
            pytest.skip("promtool is not there, and no apt-get to fetch it with")
        half = UNPACKED.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        fetch = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        done = subprocess.run(fetch, cwd=half, capture_output=True, text=True, check=False, timeout=300)
        packages = list(half.glob("*.deb"))
        if done.returncode or not packages:
            pytest.skip(f"the package prometheus cannot be fetched: {done.stderr.strip()}")
        subprocess.run(["dpkg-deb", "-x", packages[0], half], check=True, timeout=120)
        packages[0].unlink()
        shutil.rmtree(UNPACKED, ignore_errors=True)
        half.rename(UNPACKED)
    return str(program)


def check(*words: str, given: bytes = b"") -> "subprocess.CompletedProcess[str]":
    """`promtool check …`."""
    command = [promtool(), "check", *words]
    return subprocess.run(command, input=given.decode(), capture_output=True, text=True, check=False, timeout=120)


def rules() -> Path:
    return ROOT / "docs/examples/prometheus/edgecls.rules.yml"
