"""What the tests share: real files, real engines, a real broker."""

import itertools
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mqtt_rig import Connect, Connections

ROOT = Path(__file__).resolve().parent.parent
TILES = ROOT.parent / "shared/datasets/magnetic-tile"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Libraries of the workshop turn the handlers of the whole process down, pytest's own among them."""
    root = logging.getLogger()
    level, levels = root.level, [(handler, handler.level) for handler in root.handlers]
    yield
    root.setLevel(level)
    for handler, before in levels:
        handler.setLevel(before)


@pytest.fixture
def surface_demo() -> Path:
    return ROOT / "models/surface-demo"


@pytest.fixture
def clip() -> Path:
    return ROOT / "models/demo/conveyor.mp4"


@pytest.fixture
def tiles() -> Path:
    """The real photographs, which are not part of the project."""
    if not (TILES / "index.csv").is_file():
        pytest.skip("the magnetic tile photographs are not on this machine")
    return TILES


@pytest.fixture
def broken_bundle(surface_demo: Path, tmp_path: Path) -> Path:
    """A copy of a bundle, to be broken."""
    return Path(shutil.copytree(surface_demo, tmp_path / "bundle"))


@dataclass
class Mosquitto:
    """A real broker on a free port of the loopback interface."""

    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    def configure(self, *lines: str) -> None:
        """What its configuration says besides the listener. It stays who it is, to read the test's own files."""
        text = "\n".join(("user root", f"listener {self.port} 127.0.0.1", *lines, ""))
        (self.folder / "mosquitto.conf").write_text(text)

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        assert MOSQUITTO is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise TimeoutError(f"mosquitto does not listen: {(self.folder / 'mosquitto.log').read_text()}")

    def restart(self, *lines: str) -> None:
        """With another configuration."""
        self.stop()
        self.configure(*lines)
        self.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORTS = itertools.cycle(range(16_000 + WORKER % 16 * 1_000, 17_000 + WORKER % 16 * 1_000))


def a_free_port() -> int:
    """One that nobody else takes: not another worker of the tests, and not the system for somebody's connection."""
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as brokers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports go round")


@pytest.fixture
def free_port() -> int:
    return a_free_port()


@pytest.fixture
def mosquitto(tmp_path: Path, free_port: int) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; ./install.sh test installs it")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(free_port, folder)
    broker.configure("allow_anonymous true")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes connections, which end with the test."""
    connections = Connections()
    yield connections.make
    connections.stop()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users may pass through; those of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="edgecls-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def small_disk(open_folder: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = open_folder / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
