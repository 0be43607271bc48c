"""What the doctor says of cameras. Their ioctls are answered in C, in the structures of the kernel's header."""

import grp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from boards import lay_out
from conftest import ROOT
from rig import images_line, write_config

from service.doctor import cameras
from service.doctor.case import Case, open_case
from service.doctor.finding import Finding
from service.doctor.locks import holders, locked_by
from service.doctor.opencv import opencv
from service.doctor.system import System

HERE = Path(__file__).parent
ASK = """
import json, sys
from pathlib import Path
from service.doctor.cameras import cameras
from service.doctor.case import Case
from service.doctor.system import System
found = cameras(Case(System(Path(sys.argv[1])), Path("/none.yaml")))
print(json.dumps([[one.level, one.subject, one.text, one.remedy, dict(one.facts)] for one in found]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("the cameras of this test need gcc and the kernel's headers; ./install.sh test installs them")
    library = tmp_path_factory.mktemp("driver") / "camera.so"
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(HERE / "doctor_camera.c"), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A webcam with its metadata, and the sensor of a Pi."""
    names = {0: "HD Webcam C615: HD Webcam C615", 1: "HD Webcam C615: HD Webcam C615", 2: "unicam-image"}
    root = lay_out(tmp_path, {f"sys/class/video4linux/video{n}/name": f"{name}\n" for n, name in names.items()})
    for number in names:
        lay_out(root, {f"dev/video{number}": ""})
    for folder, link in (("by-id", "usb-046d_HD_Webcam_C615-video-index0"), ("by-path", "pci-0000:01:00.0-usb-0:1.2")):
        (root / "dev/v4l" / folder).mkdir(parents=True)
        (root / "dev/v4l" / folder / link).symlink_to("../../video0")
    return root


def ask(driver: Path, root: Path) -> list[tuple[str, str, str, str, dict[str, Any]]]:
    environment = {**os.environ, "LD_PRELOAD": str(driver), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(root)], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return [tuple(one) for one in json.loads(done.stdout)]


def test_a_camera_is_listed_with_its_lasting_name_and_formats_and_a_bare_sensor_told_apart(
    driver: Path, desk: Path
) -> None:
    found = ask(driver, desk)
    level, subject, text, _, facts = found[0]
    assert (level, subject) == ("ok", f"camera {desk}/dev/video0")
    assert text == (
        "HD Webcam C615: /dev/v4l/by-id/usb-046d_HD_Webcam_C615-video-index0; "
        "MJPG up to 1920x1080 at 30 fps, YUYV up to 640x480 at 15 fps"
    )
    assert facts["links"][1] == "/dev/v4l/by-path/pci-0000:01:00.0-usb-0:1.2"
    assert facts["driver"] == "uvcvideo"
    mjpg, yuyv = facts["formats"]
    assert mjpg["description"] == "Motion-JPEG"
    assert mjpg["sizes"] == [
        {"width": 640, "height": 480, "fps": [30.0, 15.0], "steps": False},
        {"width": 1920, "height": 1080, "fps": [30.0, 15.0], "steps": False},
    ]
    assert yuyv["sizes"] == [{"width": 640, "height": 480, "fps": [15.0], "steps": True}]
    assert not [one for one in found if "video1" in one[1]]  # its metadata are no camera
    (sensor,) = (one for one in found if one[1].endswith("video2"))
    assert sensor[0] == "note"
    assert "bare sensor (unicam)" in sensor[2]
    assert "rpicam-vid" in sensor[3]


def test_who_has_it_and_who_may(driver: Path, desk: Path) -> None:
    device = desk / "dev/video0"
    if os.geteuid() == 0:
        os.chown(device, 0, grp.getgrnam("video").gr_gid)
        device.chmod(0o660)
        assert not list(cameras._access(cameras.Camera(device, "x", ()), "x"))
    device.chmod(0o600)
    with subprocess.Popen([sys.executable, "-c", f"f = open({str(device)!r}); print(flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        found = [one for one in ask(driver, desk) if one[1].endswith("video0")]
        other.communicate(b"\n")
    assert [one[0] for one in found] == ["ok", "warning", "warning"]
    assert "(mode 600), and the service is in video" in found[1][2]
    assert "chgrp video" in found[1][3]
    assert f"(process {other.pid}) has it open" in found[2][2]
    assert list(holders(device)) == []


def test_a_device_that_is_none_and_one_without_a_lasting_name(driver: Path, desk: Path) -> None:
    lay_out(desk, {"sys/class/video4linux/video7/name": "odd\n", "dev/video7": ""})
    shutil.rmtree(desk / "dev/v4l")
    found = ask(driver, desk)
    assert [one[0] for one in found if one[1].endswith("video7")] == ["error"]
    assert [one[2][:23] for one in found if one[0] == "note" and one[1].endswith("video0")] == [
        "it has no lasting name:"
    ]


def settled(folder: Path, source: dict[str, Any]) -> Case:
    config = write_config(folder, 1883, [{**images_line(folder), "source": source}])
    case = open_case(System(folder), config, try_sources=True)
    assert case.settings
    return case


def test_no_camera_is_an_error_where_one_is_wanted(tmp_path: Path) -> None:
    def told(case: Case) -> Finding:
        (one,) = cameras.cameras(case)
        return one

    assert told(settled(tmp_path, {"camera": 0})).level == "error"
    assert told(settled(tmp_path, {"images": "*.png"})).level == "note"


def test_a_camera_that_is_named_by_its_number(desk: Path) -> None:
    def told(camera: int | str) -> list[str]:
        case = settled(desk, {"camera": camera})
        assert case.settings
        return [one.remedy for one in cameras.names(case, case.settings)]

    remedy = "set source: {camera: /dev/v4l/by-id/usb-046d_HD_Webcam_C615-video-index0}"
    assert told(0) == told("/dev/video0") == [remedy]
    assert told("/dev/v4l/by-id/x") == told(7) == []


def test_opencv_as_it_is_and_without_what_is_needed() -> None:
    real = list(opencv(cv2.getBuildInformation()))
    assert real[0].level == "ok"
    assert real[0].facts["ffmpeg"] is True
    assert real[0].facts["v4l2"] is True
    bare = "  Video I/O:\n    FFMPEG:                      NO\n    GStreamer:                   YES (1.20.3)\n"
    (found,) = opencv(bare)
    assert found.level == "error"
    assert "no cameras and videos and streams" in found.text


def test_who_has_locked_a_file(tmp_path: Path) -> None:
    file = tmp_path / "outbox.db"
    assert locked_by(file) is None
    file.write_text("x")
    assert locked_by(file) is None
    lock = f"import fcntl; f = open({str(file)!r}, 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert locked_by(file) == other.pid
        other.communicate(b"\n")
    assert locked_by(file) is None
