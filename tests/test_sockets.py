"""A device in a factory talks to its broker and to nobody else: every socket of a daemon at work, as strace sees it."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Mosquitto
from rig import Subscriber, endless_line, write_config

STRACE = shutil.which("strace")
AT_WORK_S = 12
"""The telemetry of some builds of ONNX Runtime began to talk 9 s after its import."""


def test_a_daemon_at_work_talks_to_its_broker_alone(mosquitto: Mosquitto, clip: Path, tmp_path: Path) -> None:
    if STRACE is None or subprocess.run([STRACE, "-qq", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not there or may not trace")
    subscriber = Subscriber(mosquitto.port)
    traced = {}
    for backend in ("onnxruntime", "openvino"):
        folder = tmp_path / backend
        folder.mkdir()
        line = endless_line(clip, backend) | {"publish": "all"}
        config = write_config(folder, mosquitto.port, [line], node=f"cell-{backend}", engine={"backend": backend})
        command = [STRACE, "-f", "-D", "--seccomp-bpf", "-e", "trace=socket,connect,sendto,sendmsg,bind,listen"]
        command += ["-o", str(folder / "trace"), sys.executable, "-m", "service.cli", "run", "--config", str(config)]
        traced[backend] = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for backend in traced:
            subscriber.wait_for(f"factory/{backend}/defects", 1)
        time.sleep(AT_WORK_S)
        told = {backend: len(subscriber.on(f"factory/{backend}/defects")) for backend in traced}
    finally:
        for process in traced.values():
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        subscriber.close()
    for backend, process in traced.items():
        trace = ended(tmp_path / backend / "trace", process.pid)
        assert told[backend] > 10, "it did not work meanwhile"
        connections = re.findall(r"connect\(.*", trace)
        assert connections, "the connection to the broker was not seen"
        foreign = [call for call in connections if f"sin_port=htons({mosquitto.port})" not in call]
        # A connection may be bound to no port in particular first. Datagrams name where they go in the call itself.
        rogue = r"bind\((?!.*htons\(0\)).*|listen\(.*|socket\(AF_INET6?, SOCK_DGRAM.*|send(?:to|msg)\(.*sa_family.*"
        assert (foreign, re.findall(rogue, trace)) == ([], [])


def ended(trace: Path, pid: int) -> str:
    """What strace wrote; it ends a moment after the process."""
    deadline = time.monotonic() + 10
    while not re.search(rf"^{pid} +\+\+\+ exited", trace.read_text(), re.MULTILINE):
        assert time.monotonic() < deadline, trace.read_text()[-500:]
        time.sleep(0.05)
    return trace.read_text()
