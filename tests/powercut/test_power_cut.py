"""Power cuts: a machine that decides is killed at random, again and again, on the same disk.

What was reported as stored must be there at the next start, with the same content; nothing that was reported as removed
may come back; the outbox opens each time, without a rescue.

What a cut takes away: the processes, the guest's memory with all that its kernel had not written to the disk yet, and
writes that were on their way. On the disk that is written through nothing else is lost: what the disk has accepted is
there. The forgetful disk has a cache of its own, as real ones have, and all that was not flushed is lost with it.
Not shown: a disk that lies about a flush, that tears a sector, or that loses a part only of what was not flushed.
"""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from powercut.ledger import Ledger
from powercut.virtual_machine import PoweredMachine, asleep, new_seed, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CUTS = 20
"""While it decides; one more when the WAL has gone into the file, and a few while it opens the outbox."""
WAKING_S = 60.0
Disk = Callable[[Path], Any]


@contextmanager
def written_through(image: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """What the guest is told to be written is in the image: qemu syncs after each write, and the guest has no flush."""
    yield f"file={image},format=raw,cache=writethrough", lambda: None


@contextmanager
def forgetful(image: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Writes go to nbdkit's cache, and from there into the image with the next flush, if that comes before the cut."""
    socket = image.with_suffix(".sock")
    socket.unlink(missing_ok=True)
    command = ["nbdkit", "-f", "--filter=cache", f"--unix={socket}", "file", str(image), "cache=writeback"]
    with subprocess.Popen(command) as disk:
        try:
            while not socket.exists():
                assert disk.poll() is None, "nbdkit does not start"
                time.sleep(0.01)
            yield f"file=nbd:unix:{socket},format=raw,cache=writeback", disk.kill
        finally:
            disk.kill()


def live(drive: str, ledger: Ledger, chance: random.Random, *, cut_at: str, cut_power: Callable[[], None]) -> None:
    """From waking up to the power cut, a while after the report `cut_at`."""
    machine = PoweredMachine(drive)
    deadline = time.monotonic() + WAKING_S
    cut_after_s = chance.uniform(0.2, 3) if cut_at == "holds" else chance.uniform(0, 0.5)
    started, due = False, False
    try:
        while time.monotonic() < deadline:
            for report in machine.reports():
                if "ready" in report and not started:
                    started = True
                    machine.start(chance.randrange(1 << 30))
                if cut_at in report and not due:
                    due, deadline = True, time.monotonic() + cut_after_s
                ledger.note(report)
            assert not machine.complaint(), machine.complaint()
            time.sleep(0.005)
        cut_power()
        machine.cut()
        for report in machine.reports():
            ledger.note(report)
    finally:
        machine.close()
    assert due, f"the machine does not come to its {cut_at}"


@pytest.mark.parametrize("disk", [written_through, forgetful])
def test_nothing_that_was_reported_as_stored_is_lost_in_a_power_cut(disk: Disk, tmp_path: Path) -> None:
    asleep()
    seed, began = new_seed(), time.monotonic()
    chance = random.Random(seed)
    print(f"\n{disk.__name__}: EDGECLS_POWERCUT_SEED={seed}")
    image = tmp_path / "disk.img"
    run("truncate", "-s", "256M", image)
    run("mke2fs", "-q", "-F", "-t", "ext4", image)
    ledger = Ledger()
    cuts = ["holds"] * CUTS + ["opening"] * (CUTS // 4)
    chance.shuffle(cuts)
    for number, cut_at in enumerate(["checkpoint", *cuts, "holds"], 1):  # the last looks what is left
        with disk(image) as (drive, cut_power):
            live(drive, ledger, chance, cut_at=cut_at, cut_power=cut_power)
        print(
            f"boot {number}, {cut_at}: reported stored {len(ledger.stored)}, acknowledged {len(ledger.acknowledged)}, "
            f"checked {ledger.checked}, lost {ledger.lost}, {time.monotonic() - began:.0f} s"
        )
        assert not ledger.faults, "\n".join(ledger.faults)
    assert ledger.checked > CUTS
    assert ledger.removed
