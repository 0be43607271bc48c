"""The daemon under systemd: a real notification socket, and a daemon whose engine can be made to hang."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy.typing as npt
import pytest
from conftest import Mosquitto
from fakes import FakeClock, FastClock
from notified import Notified
from rig import Subscriber, endless_line, finish, images_line, start, write_config, write_images
from typing_extensions import Self

from edge.backends import Backend, EngineSettings, Plan, Run, load_backend
from edge.bundle import Bundle
from edge.frame import Image
from service.daemon import Daemon
from service.orders import Orders
from service.settings import load_settings
from service.systemd import STATUS_LIMIT, Systemd

FED = "WATCHDOG=1"


@pytest.fixture
def notified(mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    """Mosquitto, which would tell systemd of itself, runs already."""
    assert mosquitto.process is not None
    with Notified(tmp_path / "notify") as notified:
        monkeypatch.setenv("NOTIFY_SOCKET", str(notified.path))
        yield notified


class Hanging:
    """An engine that runs until `free` is cleared, and then does not return until it is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self._hangs = threading.Event()

    def hang(self) -> None:
        """Returns when a line waits for it."""
        self._hangs.clear()
        self.free.clear()
        assert self._hangs.wait(20)

    def load(self, bundle: Bundle, plan: Plan, settings: EngineSettings) -> Backend:
        backend = load_backend(bundle, plan, settings)

        def wait() -> None:
            if not self.free.is_set():
                self._hangs.set()
            self.free.wait()

        class Waits:
            plan, outputs = backend.plan, backend.outputs

            def bind(self, image: Image, *outputs: npt.NDArray[Any]) -> Run:
                run = backend.bind(image, *outputs)

                def run_later() -> None:
                    wait()
                    run()

                return run_later

            def close(self) -> None:
                backend.close()

        return Waits()


class Running:
    """A daemon in this process, in a thread of its own."""

    def __init__(self, config: Path, engine: Hanging, times: int = 10) -> None:
        self.orders = Orders()
        daemon = Daemon(
            load_settings(config),
            self.orders,
            FastClock(times),
            read=lambda: load_settings(config),
            load=engine.load,
        )
        self._thread = threading.Thread(target=daemon.run)
        self._engine = engine
        self._thread.start()

    def stop(self) -> None:
        self.orders.stop.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._engine.free.set()


def test_an_engine_that_hangs_is_noticed(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")  # fed every 2 s of a clock that is ten times as fast
    subscriber, engine = Subscriber(mosquitto.port, "factory/line1/state"), Hanging()
    lines = [endless_line(clip), images_line(write_images(tmp_path / "images", 1), "line2")]
    lines[0]["source"]["pace"] = "realtime"
    with Running(write_config(tmp_path, mosquitto.port, lines), engine):
        fed = notified.wait_for(lambda message: message == FED)
        assert notified.messages.index("READY=1") < fed
        shown = notified.wait_for_status("line1 inspecting")
        assert "line2 waiting: the source has ended" in notified.messages[shown]
        engine.hang()
        hangs = notified.wait_for_status("line1 hangs: inspecting a frame has not ended for")
        again = notified.wait_for_status("line1 hangs", hangs + 1)
        later = notified.wait_for_status("line1 hangs", again + 1)
        assert FED not in notified.messages[hangs:later]
        assert subscriber.on("factory/line1/state")[-1]["state"] == "fault", "its state says so, too"
        engine.free.set()
        notified.wait_for(lambda message: message == FED, later)
        notified.wait_for_status("line1 inspecting", later)
    subscriber.close()
    assert notified.messages[-1] == "STOPPING=1"


def test_an_engine_that_hangs_does_not_keep_it_from_stopping(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Hanging()
    subscriber = Subscriber(mosquitto.port, "edgecls/#")
    with Running(write_config(tmp_path, mosquitto.port, [endless_line(clip)]), engine) as running:
        notified.wait_for_status("line1 inspecting")
        engine.hang()
        running.stop()
        assert "line line1 does not end: going on without it" in caplog.text
    statuses = subscriber.wait_for("edgecls/cell-7/status", 2)
    assert [message["status"] for message in statuses] == ["online", "offline"]
    subscriber.close()


def test_it_is_ready_without_camera_and_broker(
    mosquitto: Mosquitto, notified: Notified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosquitto.stop()
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    line = {**images_line(tmp_path), "source": {"camera": "/dev/video99"}}
    with Running(write_config(tmp_path, mosquitto.port, [line]), Hanging()):
        notified.wait_for(lambda message: message == "READY=1")
        shown = notified.wait_for_status("line1 waiting: camera /dev/video99 is not there")
        assert "; broker away, 0 waiting" in notified.messages[shown]
        fed = notified.wait_for(lambda message: message == FED)
        notified.wait_for(lambda message: message == FED, fed + 1)
    assert notified.messages[0] == "STATUS=loading models"
    assert notified.messages[-1] == "STOPPING=1"


@pytest.mark.parametrize("others", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_nobody_is_fed(
    others: dict[str, str], mosquitto: Mosquitto, notified: Notified, tmp_path: Path
) -> None:
    config = write_config(tmp_path, mosquitto.port, [images_line(write_images(tmp_path / "images", 2))])
    assert finish(start(config, **others))[0] == 0
    assert "READY=1" in notified.messages
    assert FED not in notified.messages


def test_a_stop_before_it_is_ready(mosquitto: Mosquitto, notified: Notified, tmp_path: Path, clip: Path) -> None:
    orders, config = Orders(), write_config(tmp_path, mosquitto.port, [endless_line(clip)])
    orders.stop.set()
    settings = load_settings(config)
    daemon = Daemon(settings, orders, FakeClock(), read=lambda: settings, load=_never)
    assert daemon.run() == 0
    assert notified.messages == ["STATUS=loading models"]


def _never(*_: Any) -> Backend:
    raise AssertionError("it was told to stop")


def test_a_status_is_one_line_that_systemd_takes(notified: Notified) -> None:
    systemd = Systemd(FakeClock())
    systemd.status("two\nlines")
    systemd.status("two lines")
    systemd.status("é" * 5000)
    notified.wait_for_status("éé")
    assert notified.messages[0] == "STATUS=two lines"
    assert len(notified.messages) == 2, "the same text is told once"
    assert notified.messages[1] == "STATUS=" + "é" * (STATUS_LIMIT - 1) + "…"


def test_the_watchdog_is_fed_as_often_as_it_wants(notified: Notified, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    clock = FakeClock()
    systemd = Systemd(clock)
    for _ in range(600):
        systemd.feed()
        clock.sleep(0.1)
    systemd.stopping()
    notified.wait_for(lambda message: message == "STOPPING=1")
    assert notified.messages.count(FED) == 3


def test_a_start_that_fails_tells_why_and_what_to_do(notified: Notified, broken_bundle: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, 0, [{"name": "line1"}])
    assert finish(start(config))[0] == 78
    shown = notified.wait_for_status("does not start: ")
    assert f"{config}:1: lines[0].source: is missing" in notified.messages[shown]
    assert " and 2 more. `edgecls check-config` " in notified.messages[shown]

    (broken_bundle / "golden.npz").unlink()
    assert finish(start(write_config(tmp_path, 1, [images_line(tmp_path)], model=str(broken_bundle))))[0] == 1
    notified.wait_for_status(f"does not start: bundle {broken_bundle}", shown)
