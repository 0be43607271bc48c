"""The worker of the NCS2 as a process: what it needs, and when it ends."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.ncs2.process import COMMAND
from edge.ncs2.protocol import SCORES_BYTES, Done, Failed, Hello, Reason, Run, receive, send
from edge.packets import text_of

ROOT = Path(__file__).resolve().parents[2]
IMAGE_BYTES = 160 * 160 * 3


@contextlib.contextmanager
def a_worker(model: Path, image_bytes: int = IMAGE_BYTES) -> Iterator[tuple[socket.socket, "subprocess.Popen[str]"]]:
    """The connection to a real worker, and its process."""
    spec = importlib.util.find_spec("openvino")
    assert spec is not None
    assert spec.origin is not None
    library = next(Path(spec.origin).parent.glob("libs/libopenvino_c.so*"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("test")
    os.ftruncate(memory, SCORES_BYTES + image_bytes)
    with ours, theirs:
        arguments = [str(theirs.fileno()), str(memory), str(library), str(model), "CPU"]
        worker = subprocess.Popen(
            [*COMMAND, *arguments], cwd=ROOT, pass_fds=(theirs.fileno(), memory), stderr=subprocess.PIPE, text=True
        )
        theirs.close()
        ours.settimeout(20)
        try:
            yield ours, worker
        finally:
            worker.kill()
            worker.communicate()
            os.close(memory)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < deadline, "the worker outlives the daemon"
        time.sleep(0.01)


def test_it_says_hello_runs_and_ends_with_the_connection(surface_demo: Path) -> None:
    with a_worker(surface_demo / "model.onnx") as (channel, worker):
        hello = receive(channel)
        assert isinstance(hello, Hello)
        assert hello[:5] == (1, 160, 160, 3, 4)
        assert text_of(hello.openvino)[:2] == "20"
        send(channel, Run(5))
        done = receive(channel)
        assert isinstance(done, Done)
        assert done.number == 5
        assert done.microseconds > 0
        channel.close()
        assert worker.wait(20) == 0


@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"GET / HTTP/1.1", "a message begins with b'GET '"),
        (b"ncs2\1\0\2\0", "Run has 12 bytes, not 8"),
        (b"ncs2\1\0\3\0" + bytes(8), "Done came instead of Run"),
    ],
)
def test_it_ends_when_it_is_told_nonsense(surface_demo: Path, packet: bytes, complaint: str) -> None:
    with a_worker(surface_demo / "model.onnx") as (channel, worker):
        receive(channel)
        channel.send(packet)
        assert receive(channel) is None
        assert worker.communicate(timeout=20)[1] == f"the NCS2 worker ends: {complaint}\n"
        assert worker.returncode == 1


def test_a_memory_of_another_size(surface_demo: Path) -> None:
    with a_worker(surface_demo / "model.onnx", IMAGE_BYTES - 1) as (channel, _):
        failed = receive(channel)
        assert isinstance(failed, Failed)
        assert failed.reason == Reason.MODEL
        assert text_of(failed.text) == "its input is (1, 160, 160, 3), 76800 bytes, but 76799 are given"


def test_it_ends_with_the_daemon(surface_demo: Path) -> None:
    daemon = f"""
import sys, time, numpy as np
from pathlib import Path
import importlib.util
from edge.backends import Plan
from edge.backends.ncs2 import Ncs2Backend, Ncs2Settings
from edge.bundle import load_bundle
bundle = load_bundle(Path({str(surface_demo)!r}))
openvino = Path(importlib.util.find_spec("openvino").origin).parent
plan, spec = Plan("openvino", "ncs2", "fp32"), bundle.manifest.input.spec
backend = Ncs2Backend(bundle.file("fp32", "openvino"), spec, plan, Ncs2Settings(openvino, "CPU"))
print(backend._worker._process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", daemon], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.send_signal(signal.SIGKILL)
    wait_until_gone(pid)


def test_it_ends_with_the_daemon_even_when_openvino_hangs() -> None:
    # pause() in C is a library that never returns.
    hanging = """
import ctypes, socket, sys, threading
from edge.ncs2 import worker
worker._GRACE_S = 0.1
channel = socket.socket(fileno=int(sys.argv[1]))
threading.Thread(target=worker._end_with_the_daemon, args=(channel,), daemon=True).start()
print("hanging", flush=True)
ctypes.CDLL(None).pause()
"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen(
        [sys.executable, "-c", hanging, str(theirs.fileno())],
        cwd=ROOT,
        pass_fds=(theirs.fileno(),),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        theirs.close()
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        ours.close()
        try:
            assert process.wait(20) == 1
        finally:
            process.kill()


def test_it_imports_the_standard_library_alone() -> None:
    program = "import sys, edge.ncs2.worker; print(*{name.split('.')[0] for name in sys.modules})"
    modules = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    # `site` runs here and may load what environments put into it; the worker is started without.
    extra = set(modules.stdout.split()) - set(sys.stdlib_module_names) - {"edge", "__main__"}
    assert not {name for name in extra if not name.startswith(("__editable__", "_distutils", "sitecustomize"))}
    assert "-S" in COMMAND
