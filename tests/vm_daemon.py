"""The daemon in a virtual machine, whose camera is `vivid` of the kernel: what it is told, and what it says."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from vm import SHARED, VirtualMachine

WAIT_S = 1200.0
"""For what takes seconds on real hardware."""
CAMERA = "/dev/v4l/by-path/platform-vivid.0-video-index0"
CAMERA_DRIVER = "/sys/bus/platform/drivers/vivid"
ONE_CAMERA = ("n_devs=1", "node_types=1")
"""Of vivid, and no sound, tuner or output beside it."""


def listen(machine: VirtualMachine) -> None:
    """Write down every message."""
    out = f"StandardOutput=append:{SHARED}/messages"
    subscriber = ("mosquitto_sub", "-h", "127.0.0.1", "-v", "-q", "1", "-t", "factory/#")
    machine.run("systemd-run", "--unit=subscriber", "-p", out, *subscriber)


def configure(machine: VirtualMachine, text: str) -> None:
    (machine.shared / "edgecls.yaml").write_text(text)
    machine.run("cp", f"{SHARED}/edgecls.yaml", "/etc/edgecls.yaml")
    done = machine.tries("systemctl", "restart", "edgecls")
    assert done.returncode == 0, f"{done.stderr}{log(machine)[-2000:]}"


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
            pytest.fail(f"{what}: not within {WAIT_S:.0f} s\n{log(machine)[-4000:]}")
        time.sleep(0.2)


def wait_for_more(machine: VirtualMachine, line: str = "line1") -> None:
    """Decisions go on coming."""
    before = len(decisions(machine, line))
    wait_until(machine, lambda: len(decisions(machine, line)) >= before + 3, f"more decisions of {line}")


def log(machine: VirtualMachine) -> str:
    return machine.run("journalctl", "-u", "edgecls", "-o", "cat", "--no-pager")


def open_files(machine: VirtualMachine, process: str) -> int:
    """How many the process has open."""
    return len(machine.run("ls", f"/proc/{process}/fd").split())


def held_open(machine: VirtualMachine) -> set[str]:
    """The names that their drivers give to the cameras that some process has open."""
    script = """
        for file in /proc/[0-9]*/fd/*; do readlink "$file" || true; done | sed -n 's,^/dev/video,,p' | sort -u |
            while read -r number; do cat "/sys/class/video4linux/video$number/name"; done
    """
    return set(machine.run("sh", "-c", script).splitlines())


def states(machine: VirtualMachine, line: str = "line1") -> list[dict[str, Any]]:
    return messages(machine, f"factory/{line}/state")


def unplug(machine: VirtualMachine) -> None:
    """The camera; returns when the line has said that it is gone."""
    before = len(states(machine))
    machine.run("sh", "-c", f"echo vivid.0 >{CAMERA_DRIVER}/unbind")
    wait_until(
        machine, lambda: said_since(machine, before) & {"waiting", "fault"}, "the line says that its camera is gone"
    )
    assert machine.tries("test", "-e", CAMERA).returncode != 0


def plug_in(machine: VirtualMachine) -> None:
    machine.run("sh", "-c", f"echo vivid.0 >{CAMERA_DRIVER}/bind")


def load_driver(machine: VirtualMachine, *parameters: str) -> None:
    """The cameras that are there from now on, all of the driver; those of before were unplugged."""
    wait_until(machine, lambda: machine.tries("modprobe", "-r", "vivid").returncode == 0, "nobody has the camera open")
    machine.run("modprobe", "vivid", *parameters)
    machine.run("udevadm", "settle")


def said_since(machine: VirtualMachine, count: int) -> set[str]:
    """The states of line1 after that many messages."""
    return {message["state"] for message in states(machine)[count:]}
