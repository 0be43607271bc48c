"""A process that keeps rejects until it is killed: `python evidence_writer.py FOLDER MIB PER_HOUR FIRST COUNT`.

It says on stdout which ids it has handed over (`offered`), and when the store has kept so many (`kept`).
"""

import itertools
import sys
import time
from pathlib import Path

from pictures import Rejects, image_of, settings

from edge.clock import SystemClock
from service.evidence.store import EvidenceStore


def main() -> None:
    folder, mib, per_hour, first, count = sys.argv[1:]
    store = EvidenceStore(settings(Path(folder), int(mib), int(per_hour)), SystemClock())
    store.start()
    rejects = Rejects()
    Rejects._numbers = itertools.count(int(first))
    images = [image_of(number) for number in range(8)]
    done = 0
    while done < int(count):
        if not store.wants("line1") or (rejects.stills._made == 8 and not rejects.stills._free):
            time.sleep(0.002)
            continue
        message = rejects.message()
        store.offer(message, rejects.still(images[done % len(images)], seq=done))
        done += 1
        print("offered", message["part"], store.counts["kept"], flush=True)
    store.stop(30)
    print("kept", store.counts["kept"], flush=True)


if __name__ == "__main__":
    main()
