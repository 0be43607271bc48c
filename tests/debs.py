"""The Debian packages under test, built as people build them."""

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from conftest import ROOT

QUICK = {"DPKG_DEB_COMPRESSOR_TYPE": "gzip", "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
"""Read by dpkg-deb: packing takes seconds in place of minutes."""
BEFORE = "0.0.9"
"""A version that is older than every other one."""
PACKED = ("edge", "models", "packaging", "service", "CHANGELOG.md", "LICENSE", "README.md", "docs", "pyproject.toml",
          "requirements.lock")  # fmt: skip
"""What the packages are made of."""


def build(out: Path, release: str, checkout: Path = ROOT, arch: str = "", **environment: str) -> list[Path]:
    """The packages for this processor or another one, in `out`."""
    of_arch = [arch] if arch else []
    command = [str(checkout / "packaging/build-deb.sh"), *of_arch, "--release", release, "--out", str(out)]
    done = subprocess.run(
        command, env={**os.environ, **QUICK, **environment}, check=True, stdout=subprocess.PIPE, text=True
    )
    return [checkout / line for line in done.stdout.splitlines()]


@functools.cache
def built(release: str, arch: str = "") -> Sequence[Path]:
    """Of this checkout; once for all tests that run together."""
    return tuple(build(_emptied(f"{release}{arch}"), release, arch=arch))


@functools.cache
def built_before(release: str) -> Sequence[Path]:
    """The same with the version number BEFORE, to be upgraded from."""
    out = _emptied(f"{release}-before")
    checkout = out / "checkout"
    checkout.mkdir()
    for name in PACKED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, checkout / name)
    project = checkout / "pyproject.toml"
    lines = project.read_text().splitlines(keepends=True)
    project.write_text("".join(f'version = "{BEFORE}"\n' if line.startswith("version = ") else line for line in lines))
    with (checkout / "packaging/edgecls.yaml").open("a") as file:
        file.write("# The version before said something else.\n")
    (checkout / "build").symlink_to(ROOT / "build")  # for the wheels
    return tuple(build(out, release, checkout, SOURCE_DATE_EPOCH="1700000000"))


def _emptied(name: str) -> Path:
    folder = ROOT / "build/packages-under-test" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
