"""The service on a Debian with a real systemd and a real broker: wrong configurations, reloads, signals, a reboot."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from booted import Machine, booted, need_nspawn
from conftest import ROOT
from debs import built
from durable_subscriber import Decision, DurableSubscriber, keep_everything

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LINE = """\
  - name: {name}
    topic: factory/{name}
    source: {{video: /srv/clip.mp4, loop: true}}
    decide: {{per: frame}}
    publish: {publish}
"""
HEAD = "node: cell-7\nmodel: /usr/share/edgecls/models/surface-demo\nlines:\n"
ONE_LINE = HEAD + LINE.format(name="line1", publish="all")
TWO_LINES = ONE_LINE + LINE.format(name="line2", publish="all")
OTHER_LINE_2 = ONE_LINE + LINE.format(name="line2", publish="defects")
QUICK_WATCHDOG = "[Service]\nWatchdogSec=5\n"
BROKER = "mosquitto"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Debian 12 with the packages and a broker."""
    need_nspawn()
    packages = [package for package in built("bookworm") if "openvino" not in package.name]
    files = [(ROOT / "models/demo/conveyor.mp4", "/srv/clip.mp4"), *((p, f"/root/{p.name}") for p in packages)]
    with booted("bookworm", tmp_path_factory.mktemp("machine"), files) as machine:
        machine.run("sh", "-c", "apt-get install -y --no-install-recommends /root/*.deb mosquitto mosquitto-clients")
        keep_everything(machine)
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Iterator[Machine]:
    """With a broker that runs, and a service that was never started and has no log yet."""
    installed.run("systemctl", "stop", "edgecls")
    installed.run("journalctl", "--rotate", "--vacuum-size=1")
    installed.run("sh", "-c", "rm -rf /var/lib/edgecls/*")
    installed.run("systemctl", "enable", "--now", BROKER)
    installed.run("systemctl", "restart", BROKER)
    yield installed
    installed.run("systemctl", "reset-failed")


def configure(machine: Machine, text: str) -> None:
    (machine.root / "etc/edgecls.yaml").write_text(text)


def until(what: Callable[[], bool], complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.1)


def status(machine: Machine) -> str:
    """`systemctl status`, as root sees it."""
    return machine.tries("systemctl", "status", "--no-pager", "--full", "edgecls").stdout


def log(machine: Machine) -> str:
    """What the journal has of the service."""
    return machine.run("journalctl", "-u", "edgecls", "-o", "cat")


def until_status(machine: Machine, text: str) -> None:
    until(lambda: text in status(machine), lambda: f"no {text!r} in:\n{status(machine)}")


def until_started_again(machine: Machine, before: str) -> None:
    """With another process than before."""

    def is_new() -> bool:
        return machine.property("edgecls", "ActiveState") == "active" and (
            machine.property("edgecls", "MainPID") not in ("0", before)
        )

    until(is_new, lambda: status(machine))


def parts_of(decisions: list[Decision]) -> list[int]:
    return [int(decision["part"]) for decision in decisions]


def no_gap(decisions: list[Decision]) -> bool:
    return parts_of(decisions) == list(range(1, len(decisions) + 1))


def frames_of(decisions: list[Decision]) -> list[int]:
    return [int(decision["frame"]["seq"]) for decision in decisions]


def more_than(decisions: list[Decision], count: int = 30) -> Callable[[list[Decision]], bool]:
    return lambda now: len(now) >= len(decisions) + count


def test_a_wrong_configuration_is_told_and_not_tried_again(machine: Machine) -> None:
    configure(machine, ONE_LINE.replace("video:", "vidoe:").replace("publish: all", "publish: everything"))
    assert machine.tries("systemctl", "start", "edgecls").returncode != 0
    time.sleep(3)  # it would be started again after 2 s
    assert machine.property("edgecls", "ActiveState") == "failed"
    assert machine.property("edgecls", "ExecMainStatus") == "78"
    assert machine.property("edgecls", "NRestarts") == "0"
    told = status(machine)
    (summary,) = (line for line in told.splitlines() if line.strip().startswith("Status:"))
    assert "/etc/edgecls.yaml:6: lines[0].source: " in summary
    assert "and 1 more" in summary
    assert "edgecls check-config" in summary
    assert "systemctl restart edgecls" in summary
    assert "/etc/edgecls.yaml:8: lines[0].publish: must be one of defects, all" in told

    configure(machine, ONE_LINE)
    machine.run("systemctl", "restart", "edgecls")
    until_status(machine, "line1 inspecting")


def test_a_reload_loses_no_frame_of_a_line_that_stays(machine: Machine) -> None:
    subscriber = DurableSubscriber(machine, "reload")
    configure(machine, TWO_LINES)
    machine.run("systemctl", "start", "edgecls")
    process = machine.property("edgecls", "MainPID")
    seen = subscriber.wait_for("line1", lambda decisions: len(decisions) >= 30)

    configure(machine, OTHER_LINE_2)
    machine.run("systemctl", "reload", "edgecls")
    until(lambda: "\nreloaded: restarted line2\n" in log(machine), lambda: log(machine))
    seen = subscriber.wait_for("line1", more_than(seen))
    assert {decision["verdict"] for decision in subscriber.of("line2")[-2:]} <= {"reject", "review"}

    configure(machine, TWO_LINES.replace("per: frame", "per: farme", 1))
    machine.run("systemctl", "reload", "edgecls")
    until_status(machine, "reload refused, the old configuration stays in force: /etc/edgecls.yaml:7: ")
    seen = subscriber.wait_for("line1", more_than(seen))

    configure(machine, OTHER_LINE_2)
    machine.run("systemctl", "reload", "edgecls")
    until(lambda: "\nreloaded: nothing has changed\n" in log(machine), lambda: log(machine))
    assert 'Status: "line1 inspecting' in status(machine)
    seen = subscriber.wait_for("line1", more_than(seen))

    assert machine.property("edgecls", "MainPID") == process
    assert no_gap(seen)
    assert frames_of(seen) == list(range(len(seen)))
    assert no_gap(subscriber.of("line2"))


def test_the_journal_can_be_searched_by_line_part_and_verdict(machine: Machine) -> None:
    configure(machine, TWO_LINES)
    machine.run("systemctl", "start", "edgecls")
    search = ("journalctl", "-u", "edgecls", "-o", "json", "LINE=line2", "VERDICT=reject")
    until(lambda: bool(machine.run(*search)), lambda: log(machine))
    entry = json.loads(machine.run(*search).splitlines()[0])
    assert entry["MESSAGE"].startswith(f"line line2: part {entry['PART']}: reject {entry['LABEL']} ")
    assert entry["SYSLOG_IDENTIFIER"] == "edgecls"
    (begun, *_) = machine.run("journalctl", "-u", "edgecls", "-o", "cat", "LINE=line1", "STATE=inspecting").splitlines()
    assert begun == "line line1: inspecting"


@pytest.mark.parametrize("signal", ["STOP", "KILL"])
def test_a_daemon_that_hangs_or_dies_is_started_again(machine: Machine, signal: str) -> None:
    drop_in = machine.root / "run/systemd/system/edgecls.service.d/quick.conf"
    machine.run("mkdir", "-p", f"/{drop_in.parent.relative_to(machine.root)}")
    machine.run("sh", "-c", f'printf "%s" "{QUICK_WATCHDOG}" >/{drop_in.relative_to(machine.root)}')
    machine.run("systemctl", "daemon-reload")
    subscriber = DurableSubscriber(machine, signal)
    configure(machine, ONE_LINE)
    machine.run("systemctl", "start", "edgecls")
    process = machine.property("edgecls", "MainPID")
    subscriber.wait_for("line1", lambda decisions: len(decisions) >= 30)
    machine.run("systemctl", "stop", BROKER)
    until_status(machine, "broker away, ")
    time.sleep(1)  # so that something waits in the outbox

    machine.run("systemctl", "kill", "--kill-whom=main", f"--signal={signal}", "edgecls")
    until_started_again(machine, process)
    machine.run("systemctl", "start", BROKER)
    seen = subscriber.wait_for_the_backlog("line1")
    assert no_gap(seen)
    again = [number for number, frame in enumerate(frames_of(seen)) if frame == 0]
    assert len(again) == 2, "it began with the first frame twice"
    assert machine.property("edgecls", "NRestarts") == "1"
    assert ("Watchdog timeout" in log(machine)) == (signal == "STOP")
    machine.run("rm", f"/{drop_in.relative_to(machine.root)}")
    machine.run("systemctl", "daemon-reload")


def test_what_waits_for_the_broker_outlives_a_reboot(machine: Machine) -> None:
    subscriber = DurableSubscriber(machine, "reboot")
    machine.run("systemctl", "disable", "--now", BROKER)
    configure(machine, ONE_LINE)
    machine.run("systemctl", "start", "edgecls")
    until_status(machine, "broker away, ")
    time.sleep(2)
    machine.switch_off()
    stored = sorted(Path(machine.root / "var/lib/edgecls").glob("outbox.db*"))
    assert stored
    machine.switch_on()
    until_status(machine, "line1 inspecting")
    machine.run("systemctl", "enable", "--now", BROKER)
    seen = subscriber.wait_for_the_backlog("line1")
    assert no_gap(seen)
    begins = [number for number, frame in enumerate(frames_of(seen)) if frame == 0]
    assert len(begins) == 2, "decisions from before the reboot and from after it"
    assert all(decision["late"] for decision in seen[: begins[1]])
