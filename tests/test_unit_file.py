"""The unit of systemd, held against the daemon that it starts."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT

from service.daemon import DRAIN_S, EVIDENCE_S, LINES_END_S
from service.mqtt import JOIN_S
from service.publisher import GOODBYE_NS
from service.settings import WRONG_CONFIGURATION

UNIT = ROOT / "packaging/edgecls.service"


def setting(name: str) -> str:
    """The value of a setting that stands once."""
    values = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert len(values) == 1, f"{name}: {values}"
    return str(values[0])


def test_there_is_time_to_send_what_is_left() -> None:
    needed = LINES_END_S + DRAIN_S + GOODBYE_NS / 1e9 + JOIN_S + EVIDENCE_S
    assert float(setting("TimeoutStopSec")) > needed


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert int(setting("RestartPreventExitStatus")) == WRONG_CONFIGURATION
    assert setting("Restart") == "on-failure"


def test_its_sandbox_is_tight() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert float(exposure) <= 1.3, output
