"""The thread `evidence` in a process that is killed again and again while it writes."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT
from pictures import MIB, bytes_in, damaged_in

from service.evidence.ring import Ring


class Watched:
    """Looks at how large a folder is, all the time."""

    def __init__(self, folder: Path) -> None:
        self.most = 0
        self.looks = 0
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, bytes_in(self._folder))
            self.looks += 1

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def write(folder: Path, mib: int, first: int, count: int, kill_after: int | None) -> int:
    """Run the writer, and kill it after so many lines and a moment; the number of the last reject handed over."""
    command = [sys.executable, str(ROOT / "tests/evidence_writer.py"), str(folder), str(mib), "1000000", str(first)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = subprocess.Popen([*command, str(count)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    last = first - 1
    for number, line in enumerate(process.stdout):
        word, *figures = line.split()
        if word == "offered" and line.endswith("\n") and len(figures) == 2:  # the last line may be cut off
            last = int(figures[0])
        if number == kill_after:
            threading.Timer(random.uniform(0, 0.05), process.kill).start()  # any moment will do
    process.wait(60)
    return last


def rounds(tmp_path: Path, mib: int, kills: int, each: tuple[int, int]) -> tuple[int, int]:
    """Kill it so many times; how many rejects there were, and the most that the folder took up."""
    seed = int(os.environ.get("EDGECLS_EVIDENCE_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
    print(f"EDGECLS_EVIDENCE_SEED={seed}")
    chosen = random.Random(seed)  # to repeat it
    folder = tmp_path / "evidence"
    folder.mkdir()
    watched = Watched(folder)
    first = 1
    try:
        for _ in range(kills):
            before = first
            first = write(folder, mib, first, 1_000_000, chosen.randint(*each)) + 1
            assert first > before
            ring = Ring(folder, mib * MIB)
            removed = ring.open()
            numbers = [int(item.id[-12:], 16) for item in ring.items()]
            ring.close()
            assert removed <= 64
            assert damaged_in(folder) == []
            assert numbers == sorted(numbers, reverse=True)
            # What was handed over in the last second may be lost; up to there the newest are all there.
            of_this_run = [number for number in numbers if number >= before]
            assert of_this_run in ([], list(range(max(of_this_run, default=0), min(of_this_run, default=0) - 1, -1)))
    finally:
        watched.stop()
    assert watched.looks > kills
    assert watched.most <= mib * MIB
    return first - 1, watched.most


def test_what_is_kept_is_whole_whenever_it_is_killed(tmp_path: Path) -> None:
    rejects, most = rounds(tmp_path, 4, 6, (30, 200))
    assert rejects > 180
    assert most > 3 * MIB  # it was full


@pytest.mark.slow
def test_ten_thousand_rejects_and_forty_kills(tmp_path: Path) -> None:
    rejects, most = rounds(tmp_path, 20, 40, (200, 320))
    print(f"{rejects} rejects, 40 kills, at most {most} bytes of {20 * MIB}")
    assert rejects >= 8_000
    assert most > 19 * MIB
