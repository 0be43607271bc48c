"""The status page in a real Chromium, in front of a real daemon."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Mosquitto
from nodejs import node, npm_ci
from page_rig import page
from rig import Message, images_line

pytestmark = pytest.mark.slow
CLIP = ROOT / "models/demo/conveyor.mp4"


def browse(script: str, *arguments: str) -> Any:
    """What a script of `tests/browser` prints."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed; ./install.sh test --slow installs it")
    done = subprocess.run(
        [node(), script, *arguments],
        cwd=npm_ci("browser"),
        env={**os.environ, "CHROMIUM": chromium},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def conveyor(name: str = "line1", **more: Any) -> Message:
    source = {"video": str(CLIP), "loop": True, "pace": "realtime"}
    return {"name": name, "topic": f"factory/{name}", "source": source, **more}


def test_a_reject_arrives_is_opened_relabelled_and_exported(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with page(tmp_path, mosquitto.port, [conveyor()], evidence={"path": "evidence"}) as shown:
        seen = browse("relabel.mjs", shown.url, "ok")
        assert seen["was"] in ("deformation", "scratch", "stain")
        assert seen["seen"] == [320, 240]
        assert seen["complaints"] == []
        assert seen["elsewhere"] == []
        export = [sys.executable, "-m", "service.cli", "evidence", "export", "--output", str(tmp_path / "out")]
        subprocess.run([*export, "--config", str(tmp_path / "edgecls.yaml")], check=True, cwd=ROOT)
    exported = {file.stem: file.parent.name for file in (tmp_path / "out").rglob("*.jpg")}
    assert [label for name, label in exported.items() if seen["id"] in name] == ["ok"]


def test_axe_finds_nothing_serious(tmp_path: Path, mosquitto: Mosquitto) -> None:
    lines = [conveyor(), images_line(tmp_path / "none", "line2")]  # the second one is in fault
    with page(tmp_path, mosquitto.port, lines, 1, evidence={"path": "evidence"}) as shown:
        shown.wait_for("/readyz", 503)
        found = browse("axe.mjs", shown.url)
    assert len(found) >= 5
    for look in found:
        assert look["passes"] > 15, look
        serious = [one for one in look["violations"] if one["impact"] in ("serious", "critical")]
        assert serious == [], look["where"]
