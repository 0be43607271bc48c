"""What the doctor says of boards, by the files that their kernels show."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from boards import ATOM_CPU, ORIN, PC, PI_4, PI_5, STICK, lay_out
from rig import images_line, write_config

from service.doctor import clock, device, disks, engines, power
from service.doctor.case import Case, open_case
from service.doctor.finding import Finding
from service.doctor.system import System


def only(findings: "list[Finding]") -> Finding:
    (one,) = findings
    assert (one.remedy == "") == (one.level == "ok")
    return one


def of(look: object, root: Path) -> Finding:
    return only(list(look(System(root))))  # type: ignore[operator]  # one of the checks


def test_boards_and_computers_are_called_by_their_names(tmp_path: Path) -> None:
    for number, (files, name) in enumerate(
        ((PI_4, "Raspberry Pi 4 Model B Rev 1.4, "), (ORIN, "NVIDIA Jetson Orin"), (PC, "Dell Inc. OptiPlex 3000, "))
    ):
        found = of(device.device, lay_out(tmp_path / str(number), files))
        assert found.level == "ok"
        assert found.text.startswith(name)
    assert "Core(TM) i5-4570" in found.text


def test_a_pi_that_is_too_old_and_a_computer_that_tells_nothing(tmp_path: Path) -> None:
    old = of(device.device, lay_out(tmp_path / "pi", {"proc/device-tree/model": "Raspberry Pi 2 Model B Rev 1.1\0"}))
    assert old.level == "note"
    assert of(device.device, tmp_path / "nothing").text.startswith("a computer that does not tell its model")


@pytest.mark.parametrize(
    ("cpu", "level", "part"),
    [
        (PI_4["proc/cpuinfo"], "note", "lacks the 8-bit dot product (asimddp)"),
        (PI_5["proc/cpuinfo"], "ok", "what INT8 needs: asimddp"),
        (ATOM_CPU, "warning", "lacks avx2"),
        (PC["proc/cpuinfo"], "note", "avx2 and none of avx_vnni"),
        (PC["proc/cpuinfo"].replace("avx2", "avx2 avx512_vnni amx_int8"), "ok", "avx2, avx512_vnni, amx_int8"),
    ],
)
def test_instructions_for_int8(cpu: str, level: str, part: str, tmp_path: Path) -> None:
    found = of(device.instructions, lay_out(tmp_path, {"proc/cpuinfo": cpu}))
    assert found.level == level
    assert part in found.text


def test_little_memory(tmp_path: Path) -> None:
    found = of(device.memory, lay_out(tmp_path, PC))
    assert found.level == "warning"
    assert found.facts == {"total_mib": 3793, "available_mib": 146}
    assert of(device.memory, Path("/")).level == "ok"


@pytest.mark.parametrize(
    ("bits", "level", "part", "remedy"),
    [
        ("0", "ok", "has not slowed down", ""),
        ("50005", "warning", "slows down now: under-voltage, throttled", "power supply"),
        ("50000", "warning", "since it was switched on: under-voltage, throttled", "power supply"),
        ("80008", "warning", "now: soft temperature limit", "a fan"),
    ],
)
def test_throttling_of_a_pi(bits: str, level: str, part: str, remedy: str, tmp_path: Path) -> None:
    root = lay_out(tmp_path, {**PI_4, "sys/devices/platform/soc/soc:firmware/get_throttled": f"{bits}\n"})
    found = of(power.throttling, root)
    assert found.level == level
    assert part in found.text
    assert remedy in found.remedy


def program(folder: Path, name: str, prints: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{prints}\nEND\n")
    (folder / name).chmod(0o755)


def test_programs_are_asked_where_no_file_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pi = lay_out(tmp_path / "pi", {"proc/device-tree/model": PI_5["proc/device-tree/model"]})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert of(power.throttling, pi).level == "note"
    program(tmp_path / "bin", "vcgencmd", "throttled=0xd0000")
    assert "under-voltage, throttled, soft temperature limit" in of(power.throttling, pi).text
    orin = lay_out(tmp_path / "orin", ORIN)
    assert "does not tell" in of(power.power_mode, orin).text
    program(tmp_path / "bin", "nvpmodel", "NV Power Mode: 7W\n1")
    held_back = of(power.power_mode, orin)
    assert held_back.level == "note"
    assert held_back.text.startswith("7W: ")
    program(tmp_path / "bin", "nvpmodel", "NV Power Mode: MAXN\n0")
    assert of(power.power_mode, orin).level == "ok"


def test_nothing_is_said_of_what_a_device_does_not_have(tmp_path: Path) -> None:
    pc = System(lay_out(tmp_path, PC))
    assert [*power.throttling(pc), *power.power_mode(pc), *power.temperature(pc)] == []


@pytest.mark.parametrize(
    ("files", "millidegrees", "level", "part"),
    [
        (PI_4, 48199, "ok", "48 °C (cpu-thermal), 32 °C below"),
        (PI_4, 82500, "warning", "82 °C (cpu-thermal), 2 °C above"),
        (ORIN, 61312, "ok", "24 °C below"),
        ({**ORIN, "sys/class/thermal/thermal_zone0/trip_point_2_temp": "60000\n"}, 61312, "warning", "1 °C above"),
    ],
)
def test_temperature(files: dict[str, str], millidegrees: int, level: str, part: str, tmp_path: Path) -> None:
    root = lay_out(tmp_path, {**files, "sys/class/thermal/thermal_zone0/temp": f"{millidegrees}\n"})
    found = of(power.temperature, root)
    assert (found.level, part in found.text) == (level, True), found


def test_the_clock() -> None:
    now = time.time()
    assert only(list(clock.clock(12_345, now))).level == "ok"
    assert only(list(clock.clock(16_000_000, now))).level == "warning"
    assert only(list(clock.clock(None, now))).level == "warning"
    past = only(list(clock.clock(500, 1_700_000_000.0)))
    assert past.level == "error"
    assert "2023-11-14" in past.text


def test_the_kernel_tells_the_error_of_the_clock() -> None:
    told = clock.largest_error_us()
    assert told is not None
    # The status word behind it says the same: STA_UNSYNC goes with the largest error.
    assert 0 <= told <= 16_000_000


def test_a_disk_that_is_small_full_in_memory_or_read_only(small_disk: Path) -> None:
    system = System()
    in_memory = only(list(disks.disk(system, small_disk / "not/there", 1)))
    assert (in_memory.level, in_memory.facts["kind"]) == ("error", "tmpfs")  # 8 MiB are as good as full
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    assert "lies in memory (tmpfs)" in only(list(disks.disk(system, small_disk, 1))).text
    grow = only(list(disks.disk(system, small_disk, 80)))
    assert grow.level == "warning"
    assert "may grow by 80 MiB" in grow.text
    subprocess.run(["mount", "-o", "remount,nr_inodes=20", small_disk], check=True)
    assert "files more" in only(list(disks.disk(system, small_disk, 1))).text
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    read_only = only(list(disks.disk(system, small_disk, 1)))
    assert read_only.level == "error"
    assert "read-only" in read_only.text


def test_room_for_pictures_where_they_lie(tmp_path: Path, small_disk: Path) -> None:
    def on_disks(**evidence: object) -> list[Finding]:
        config = write_config(tmp_path, 1883, [images_line(tmp_path)], evidence=evidence)
        return [f for f in disks.disks(open_case(System(), config, try_sources=True)) if "tuning" not in f.subject]

    beside = on_disks(max_mib=1000)[0]
    assert beside.facts["needed_mib"] == on_disks(max_mib=0)[0].facts["needed_mib"] + 1000  # type: ignore[operator]  # it is a number
    (pictures,) = [f for f in on_disks(path=str(small_disk / "pictures")) if f.subject.endswith("pictures")]
    assert (pictures.level, pictures.remedy) == ("warning", "free some space, or set evidence.max_mib to 4")
    (fits,) = [f for f in on_disks(path=str(small_disk / "pictures"), max_mib=4) if f.subject.endswith("pictures")]
    assert fits.level == "ok"
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    (read_only,) = [f for f in on_disks(path=str(small_disk), max_mib=4) if f.subject == f"disk of {small_disk}"]
    assert (read_only.level, "no pictures of rejects are kept" in read_only.text) == ("warning", True)


def test_the_stick(tmp_path: Path) -> None:
    plugged = Case(System(lay_out(tmp_path, STICK)), tmp_path / "none.yaml")
    assert engines.sticks(plugged.system) == ["03e7:2485"]
    found = only(list(engines.stick(plugged)))
    assert found.level == "note"
    assert "not used" in found.text
    assert list(engines.stick(Case(System(tmp_path / "empty"), tmp_path / "none.yaml"))) == []


def test_this_very_device_is_described() -> None:
    assert only(list(device.device(System()))).level in ("ok", "note")
    assert only(list(device.instructions(System()))).facts["instructions"] is not None
    assert sys.platform == "linux"
