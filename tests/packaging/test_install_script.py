"""install.sh install and uninstall: what it recognises, and that it says what it would do."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT


def install_sh(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(ROOT / "install.sh"), *arguments], check=False, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def recognised(root: Path) -> str:
    """What is said about a device whose root directory is `root`."""
    script = 'say() { printf "%s\\n" "$*"; }; source "$1"; the_device "$2"'
    command = ["bash", "-euc", script, "-", str(ROOT / "packaging/install-service.sh"), str(root)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A root directory with what every device has."""
    for name, text in {
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) N100\nprocessor\t: 1\nmodel name\t: Intel(R) N100\n",
        "sys/bus/usb/devices/usb1/idVendor": "1d6b\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def device_tree(root: Path, model: str) -> None:
    (root / "proc/device-tree").mkdir()
    (root / "proc/device-tree/model").write_bytes(model.encode() + b"\0")


def test_a_pc_is_named_by_its_processor(device: Path) -> None:
    said = recognised(device)
    assert said.startswith("Device: Intel(R) N100, ")
    assert said.rstrip().endswith("Debian GNU/Linux 12 (bookworm)")


@pytest.mark.parametrize("model", ["Raspberry Pi 3 Model B Plus Rev 1.3", "Raspberry Pi 5 Model B Rev 1.0"])
def test_a_raspberry_pi_is_named_by_its_device_tree(device: Path, model: str) -> None:
    device_tree(device, model)
    assert recognised(device).startswith(f"Device: {model}, ")


def test_a_raspberry_pi_that_is_too_small_is_told(device: Path) -> None:
    device_tree(device, "Raspberry Pi Zero 2 W Rev 1.0")
    assert "meant for the Raspberry Pi 3, 4 and 5" in recognised(device)


@pytest.mark.parametrize("by", ["device tree", "release file"])
def test_a_jetson_is_told_what_its_gpu_takes(device: Path, by: str) -> None:
    if by == "device tree":
        device_tree(device, "NVIDIA Jetson Orin Nano Developer Kit")
    else:
        (device / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 3.0\n")
    said = recognised(device)
    assert said.startswith("Device: NVIDIA Jetson")
    assert "docs/install.md says what its GPU takes" in said


def test_a_stick_is_seen(device: Path) -> None:
    assert "NCS2" not in recognised(device)
    stick = device / "sys/bus/usb/devices/1-2/idVendor"
    stick.parent.mkdir()
    stick.write_text("03e7\n")
    assert "docs/ncs2.md" in recognised(device)


def test_a_dry_run_says_what_would_be_done() -> None:
    done = install_sh("install", "--dry-run", "--no-openvino", "--no-tune")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Device: ")
    assert "Would build and install: edgecls edgecls-models\n" in done.stdout
    assert done.stdout.endswith("Would enable and start edgecls.service\n")


@pytest.mark.parametrize(
    "arguments", [("install", "--nonsense"), ("--nonsense",), ("install", "--deb"), ("uninstall", "--nonsense"), ("x",)]
)
def test_wrong_usage_is_told(arguments: tuple[str, ...]) -> None:
    done = install_sh(*arguments)
    assert done.returncode == 2
    assert "help" in done.stderr


def test_a_package_that_is_no_file_is_told() -> None:
    done = install_sh("install", "--deb", "nothing.deb")
    assert done.returncode == 1
    assert "--deb: nothing.deb is not a file" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not become root")
def test_without_root_it_stops_before_anything_is_done(request: pytest.FixtureRequest) -> None:
    # Not in the folder of the tests, which only root may enter.
    checkout = Path(tempfile.mkdtemp(prefix="edgecls-checkout-"))
    request.addfinalizer(lambda: shutil.rmtree(checkout))
    checkout.chmod(0o755)
    package = checkout / "some.deb"
    package.touch()
    (checkout / "packaging").mkdir()
    for name in ("install.sh", "packaging/install-service.sh"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    command = [*nobody, "bash", str(checkout / "install.sh"), "install", "--deb", str(package)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert "Nothing was changed" in done.stderr
