"""The packages in a machine with a real kernel: a real camera that is unplugged, and limits that bite.

The camera is `vivid` of the kernel, which udev and OpenCV cannot tell from one that is plugged in.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from debs import built
from schemas import validator
from vm import SHARED, VirtualMachine, virtual_machine
from vm_image import RELEASE, need_vm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WAIT_S = 600.0
"""For what takes seconds on real hardware."""
CAMERA = "/dev/v4l/by-path/platform-vivid.0-video-index0"
CAMERA_DRIVER = "/sys/bus/platform/drivers/vivid"
CGROUP = "/sys/fs/cgroup/system.slice/edgecls.service"
CONFIGURATION = f"""\
node: cell-7
model: /usr/share/edgecls/models/surface-demo
engine: {{backend: onnxruntime}}
lines:
  - name: line1
    topic: factory/line1
    source: {{camera: {CAMERA}, width: 320, height: 180, fps: 1}}
    decide: {{per: frame}}
    publish: all
"""


@pytest.fixture(scope="module", params=["amd64", "arm64"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualMachine]:
    """With the packages installed, a camera, and a daemon that sends a decision for each of its frames."""
    arch = str(request.param)
    need_vm(arch)
    with virtual_machine(arch, built(RELEASE, arch), tmp_path_factory.mktemp(arch)) as machine:
        print(machine.run("systemd-analyze"))
        assert machine.property("edgecls", "ActiveState") == "active"
        print(machine.run("dpkg-query", "-W", "-f", "${Package} ${Installed-Size} KiB\n", "edgecls*"))
        machine.run("modprobe", "vivid", "n_devs=1", "node_types=1")
        listen(machine)
        configure(machine, CONFIGURATION)
        yield machine


def listen(machine: VirtualMachine) -> None:
    """Write down every message."""
    out = f"StandardOutput=append:{SHARED}/messages"
    subscriber = ("mosquitto_sub", "-h", "127.0.0.1", "-v", "-q", "1", "-t", "factory/#")
    machine.run("systemd-run", "--unit=subscriber", "-p", out, *subscriber)


def configure(machine: VirtualMachine, text: str) -> None:
    (machine.shared / "edgecls.yaml").write_text(text)
    machine.run("cp", f"{SHARED}/edgecls.yaml", "/etc/edgecls.yaml")
    machine.run("systemctl", "restart", "edgecls")


def messages(machine: VirtualMachine, topic: str) -> list[dict[str, Any]]:
    """Those that have come by now, the last line of which may not have come yet as a whole."""
    said = (machine.shared / "messages").read_text()
    lines = said[: said.rfind("\n") + 1].splitlines()
    return [json.loads(line.split(" ", 1)[1]) for line in lines if line.startswith(f"{topic} ")]


def decisions(machine: VirtualMachine, line: str = "line1") -> list[dict[str, Any]]:
    return messages(machine, f"factory/{line}/defects")


def wait_until(machine: VirtualMachine, happens: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happens():
        if time.monotonic() > deadline:
            said = machine.tries("journalctl", "-u", "edgecls", "-n", "40", "--no-pager").stdout
            pytest.fail(f"{what}: not within {WAIT_S:.0f} s\n{said}")
        time.sleep(0.2)


def wait_for_more(machine: VirtualMachine, line: str = "line1") -> None:
    """Decisions go on coming."""
    before = len(decisions(machine, line))
    wait_until(machine, lambda: len(decisions(machine, line)) >= before + 3, f"more decisions of {line}")


def test_the_command_works(machine: VirtualMachine, clip: Path) -> None:
    reader = cv2.VideoCapture(str(clip))
    cv2.imwrite(str(machine.shared / "part.png"), reader.read()[1])
    assert machine.run("edgecls", "--version").startswith("edgecls 0.")
    machine.run("systemctl", "stop", "edgecls")  # which comes first on the device, and leaves little of it here
    for backend in ("onnxruntime", "openvino"):
        said = machine.run("edgecls", "classify", "--backend", backend, "--json", f"{SHARED}/part.png")
        assert set(json.loads(said)["scores"]) == {"ok", "deformation", "scratch", "stain"}
    machine.run("systemctl", "start", "edgecls")


def test_a_camera_is_unplugged_and_plugged_in_again(machine: VirtualMachine) -> None:
    wait_for_more(machine)
    daemon = machine.property("edgecls", "MainPID")
    for what in ("unbind", "bind"):
        states = len(messages(machine, "factory/line1/state"))
        machine.run("sh", "-c", f"echo vivid.0 >{CAMERA_DRIVER}/{what}")

        def news(states: int = states) -> set[str]:
            return {message["state"] for message in messages(machine, "factory/line1/state")[states:]}

        if what == "unbind":
            wait_until(machine, lambda: news() & {"waiting", "fault"}, "the line says that its camera is gone")
            assert machine.tries("test", "-e", CAMERA).returncode != 0
            wait_until(
                machine, lambda: "line1 fault" in machine.property("edgecls", "StatusText"), "its status says so"
            )
        else:
            wait_until(machine, lambda: "inspecting" in news(), "the line inspects again")
            wait_for_more(machine)
    assert machine.property("edgecls", "MainPID") == daemon
    received = decisions(machine)
    for decision in received:
        validator("decision").validate(decision)
    parts = sorted({decision["part"] for decision in received})
    assert parts == list(range(parts[0], parts[-1] + 1))


def test_what_takes_too_much_memory_is_killed_and_the_device_stays_usable(machine: VirtualMachine) -> None:
    limit, daemon = int(machine.property("edgecls", "MemoryMax")), machine.property("edgecls", "MainPID")
    assert limit < int(machine.run("sh", "-c", "awk '/^MemTotal/ {print $2 * 1024}' /proc/meminfo"))
    eat = f"echo $$ >{CGROUP}/cgroup.procs; exec /usr/bin/python3 -c 'bytes([1]) * {limit}'"
    assert machine.tries("sh", "-c", eat).returncode == -9
    assert re.search(r"^oom_kill [1-9]", machine.run("cat", f"{CGROUP}/memory.events"), re.MULTILINE)
    assert machine.property("edgecls", "MainPID") == daemon
    wait_for_more(machine)


def test_it_may_use_cameras_and_no_disk(machine: VirtualMachine) -> None:
    def reads(device: str) -> "subprocess.CompletedProcess[str]":
        """As root, so that nothing but the unit's limit is in the way."""
        script = f"echo $$ >{CGROUP}/cgroup.procs; exec 3<{device}"
        return machine.tries("sh", "-c", script)

    for device in ("/dev/vda", "/dev/mem", "/dev/kmsg"):
        assert machine.tries("sh", "-c", f"exec 3<{device}").returncode == 0
        assert "Operation not permitted" in reads(device).stderr
    for device in (CAMERA, "/dev/null", "/dev/urandom"):
        assert reads(device).returncode == 0


def test_the_site_may_name_the_only_addresses_that_it_reaches(machine: VirtualMachine) -> None:
    def may_send(address: str) -> bool:
        """As root, so that nothing but the unit's limit is in the way."""
        send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{address}', 9))"
        script = f'echo $$ >{CGROUP}/cgroup.procs; exec /usr/bin/python3 -c "{send}"'
        done = machine.tries("sh", "-c", script)
        assert done.returncode == 0 or "Operation not permitted" in done.stderr, done.stderr
        return done.returncode == 0

    assert may_send("127.0.0.2")
    drop_in = "[Service]\nIPAddressDeny=any\nIPAddressAllow=127.0.0.1\n"
    (machine.shared / "addresses.conf").write_text(drop_in)
    folder = "/run/systemd/system/edgecls.service.d"
    machine.run("sh", "-c", f"mkdir {folder} && cp {SHARED}/addresses.conf {folder} && systemctl daemon-reload")
    try:
        machine.run("systemctl", "restart", "edgecls")
        assert not may_send("127.0.0.2")
        assert may_send("127.0.0.1")
        wait_for_more(machine)
    finally:
        machine.run("sh", "-c", f"rm -r {folder} && systemctl daemon-reload && systemctl restart edgecls")


def test_its_sandbox_is_tight_and_both_engines_work_in_it(machine: VirtualMachine) -> None:
    for backend in ("openvino", "onnxruntime"):
        configure(machine, CONFIGURATION.replace("onnxruntime", backend))
        wait_for_more(machine)
    said = machine.run("systemd-analyze", "security", "--no-pager", "edgecls")
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    print(f"exposure {exposure}")
    assert float(exposure) <= 1.3, said
