"""The packages in a machine with a real kernel: a real camera that is unplugged, and limits that bite.

The camera is `vivid` of the kernel, which udev and OpenCV cannot tell from one that is plugged in.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from debs import built
from schemas import validator
from vm import SHARED, VirtualMachine, virtual_machine
from vm_daemon import (
    CAMERA,
    CAMERA_DRIVER,
    ONE_CAMERA,
    configure,
    decisions,
    held_open,
    listen,
    load_driver,
    log,
    open_files,
    plug_in,
    states,
    unplug,
    wait_for_more,
    wait_until,
)
from vm_image import RELEASE, need_vm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TIMES = 20
CGROUP = "/sys/fs/cgroup/system.slice/edgecls.service"
CONFIGURATION = f"""\
node: cell-7
model: /usr/share/edgecls/models/surface-demo
engine: {{backend: onnxruntime}}
lines:
  - name: line1
    topic: factory/line1
    source: {{camera: {CAMERA}, width: 320, height: 180, fps: 2, lost_after_s: 10}}
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
        machine.run("modprobe", "vivid", *ONE_CAMERA)
        listen(machine)
        configure(machine, CONFIGURATION)
        yield machine


def test_the_command_works(machine: VirtualMachine, clip: Path) -> None:
    reader = cv2.VideoCapture(str(clip))
    cv2.imwrite(str(machine.shared / "part.png"), reader.read()[1])
    assert machine.run("edgecls", "--version").startswith("edgecls 0.")
    machine.run("systemctl", "stop", "edgecls")  # which comes first on the device, and leaves little of it here
    for backend in ("onnxruntime", "openvino"):
        said = machine.run("edgecls", "classify", "--backend", backend, "--json", f"{SHARED}/part.png")
        assert set(json.loads(said)["scores"]) == {"ok", "deformation", "scratch", "stain"}
    machine.run("systemctl", "start", "edgecls")


def test_a_camera_is_set_as_asked_and_read_back(machine: VirtualMachine) -> None:
    asked = "width: 640, height: 360, fps: 4, format: UYVY"
    configure(machine, CONFIGURATION.replace("width: 320, height: 180, fps: 2", asked))
    wait_for_more(machine)
    frame = decisions(machine)[-1]["frame"]
    assert (frame["width"], frame["height"]) == (640, 360)
    said = machine.run("v4l2-ctl", "-d", CAMERA, "--get-fmt-video", "--get-parm")
    for what in (r"Width/Height\s+: 640/360\n", r"Pixel Format\s+: 'UYVY'", r"Frames per second: 4\.000"):
        assert re.search(what, said), said
    assert "the source gives 640x360 UYVY at 4 fps\n" in log(machine)
    configure(machine, CONFIGURATION)
    before = len(decisions(machine))
    wait_until(machine, lambda: decisions(machine)[before + 3 :], "decisions of the smaller picture")
    assert decisions(machine)[-1]["frame"]["width"] == 320


def test_a_camera_is_unplugged_and_plugged_in_again(machine: VirtualMachine) -> None:
    wait_for_more(machine)
    daemon, begin = machine.property("edgecls", "MainPID"), len(decisions(machine))
    unplug(machine)
    wait_until(machine, lambda: "line1 waiting" in machine.property("edgecls", "StatusText"), "its status says so")
    plug_in(machine)
    wait_for_more(machine)
    files = open_files(machine, daemon)
    for _ in range(TIMES - 1):
        unplug(machine)
        plug_in(machine)
        wait_for_more(machine)
    assert machine.property("edgecls", "MainPID") == daemon
    wait_until(machine, lambda: open_files(machine, daemon) == files, f"the daemon has {files} files open as before")
    received = decisions(machine)[begin:]
    for decision in received:
        validator("decision").validate(decision)
    parts = [decision["part"] for decision in received]
    assert parts == list(range(parts[0], parts[0] + len(parts)))


def test_a_camera_is_not_taken_for_another_that_has_its_number(machine: VirtualMachine) -> None:
    device = machine.run("readlink", "-f", CAMERA).strip()
    configure(machine, CONFIGURATION.replace(CAMERA, device))
    wait_for_more(machine)
    daemon = machine.property("edgecls", "MainPID")
    unplug(machine)
    begin = len(decisions(machine))
    load_driver(machine, "n_devs=2", "node_types=1,1", f"vid_cap_nr=7,{device.removeprefix('/dev/video')}")
    see = f"import cv2; assert cv2.VideoCapture('{device}', cv2.CAP_V4L2).read()[0]"
    machine.run("/opt/edgecls/bin/python3", "-c", see)
    assert machine.run("cat", f"/sys/class/video4linux/{Path(device).name}/name") == "vivid-001-vid-cap\n"
    wait_until(machine, lambda: "is another camera now" in states(machine)[-1]["reason"], "the other one is refused")
    assert decisions(machine)[begin:] == []

    machine.run("sh", "-c", f"echo vivid.0 >{CAMERA_DRIVER}/unbind")
    load_driver(machine, *ONE_CAMERA)
    wait_for_more(machine)
    assert machine.property("edgecls", "MainPID") == daemon


def test_a_camera_is_found_under_another_number(machine: VirtualMachine) -> None:
    configure(machine, CONFIGURATION)
    wait_for_more(machine)
    unplug(machine)
    load_driver(machine, *ONE_CAMERA, "vid_cap_nr=7")
    wait_for_more(machine)
    assert machine.run("readlink", "-f", CAMERA) == "/dev/video7\n"
    assert held_open(machine) == {"vivid-000-vid-cap"}


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
