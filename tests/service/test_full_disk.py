"""The whole daemon on a small disk that fills up: the line goes on, the state says so, and it heals by itself."""

import signal
from pathlib import Path

from conftest import Mosquitto
from delivery import until
from rig import Subscriber, endless_line, finish, start, write_config
from slow_disk import fill

STATE, DEFECTS = "factory/line1/state", "factory/line1/defects"


def test_a_full_disk_is_told_and_heals_without_a_restart(
    mosquitto: Mosquitto, tmp_path: Path, small_disk: Path, clip: Path
) -> None:
    mosquitto.stop()
    mosquitto.configure("allow_anonymous true", "max_queued_messages 0")
    mosquitto.start()
    subscriber = Subscriber(mosquitto.port)
    outbox = {"path": str(small_disk / "outbox.db"), "max_mib": 1}
    line = endless_line(clip)
    line["source"]["pace"] = "realtime"
    # Pictures have a disk of their own: on this one there is never room for them beside the outbox.
    evidence = {"path": str(tmp_path / "evidence")}
    process = start(write_config(tmp_path, mosquitto.port, [line], outbox=outbox, evidence=evidence))
    subscriber.wait_for(DEFECTS, 10)
    filler = fill(small_disk)

    def told() -> bool:
        return "disk is full" in subscriber.on(STATE)[-1]["reason"]

    assert until(told, 120)
    assert subscriber.on(STATE)[-1]["state"] == "inspecting"
    before = len(subscriber.on(DEFECTS))
    subscriber.wait_for(DEFECTS, before + 60)  # delivered from memory
    mosquitto.stop()  # now nobody takes them, neither disk nor broker
    early = subscriber
    early.close()
    assert not until(lambda: process.poll() is not None, 5), "the daemon ended"
    mosquitto.start()
    subscriber = Subscriber(mosquitto.port)
    subscriber.wait_for(DEFECTS, 60)
    assert told()
    filler.unlink()
    assert until(lambda: not subscriber.on(STATE)[-1]["reason"], 30)
    process.send_signal(signal.SIGTERM)
    status, log = finish(process)
    assert status == 0, log
    assert "the outbox is written again" in log
    subscriber.close()
    last = subscriber.on(STATE)[-1]["counts"]
    assert last["evicted"] == 0
    everything = {message["part"] for who in (early, subscriber) for message in who.on(DEFECTS)}
    assert everything == set(range(1, last["decisions"] + 1))
