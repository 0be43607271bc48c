"""`python -m service.doctor.trial FILE LINE`: opens the source of a line and reads from it for a moment, as JSON.

A process of its own: a camera may hang, and a decoder that does not survive what it is given ends it.
"""

import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.errors import BadFrameError, EdgeError
from edge.sources import make_source
from service.line_settings import source_settings
from service.settings import load_settings

LIMIT_S = 20.0
"""For opening, the first frame, and reading; a source that takes longer hangs."""
READ_S = 2.0
"""Of a source that has a pace."""
MOST_BAD = 20


def attempt(file: Path, line: str) -> dict[str, Any]:
    """Size of the frames and how many come in a second, or `error` with the sentence of the source."""
    settings = load_settings(file)
    (section,) = (one for one in settings.lines if one.name == line)
    source = make_source(line, source_settings(section), SystemClock())
    begin = time.monotonic()
    times: list[float] = []
    bad, size = 0, (0, 0)
    try:
        source.open()
        while not times or (not source.on_demand and times[-1] - times[0] < READ_S):
            try:
                frame = source.read()
            except BadFrameError:
                bad += 1
                if bad > MOST_BAD:
                    raise
                continue
            if frame is None:
                break
            times.append(time.monotonic())
            size = (frame.image.shape[1], frame.image.shape[0])
    except EdgeError as error:
        return {"error": str(error)}
    finally:
        source.close()
    if not times:
        return {"error": f"the source of {line} ended before its first frame: give it something to read"}
    span = times[-1] - times[0]
    return {
        "width": size[0],
        "height": size[1],
        "first_frame_s": round(times[0] - begin, 2),
        "fps": round((len(times) - 1) / span, 1) if len(times) > 1 and span > 0 else None,
        "bad_frames": bad,
    }


if __name__ == "__main__":
    logging.disable()
    # It ends this process whatever the source is doing. Loading all of this, which can take long, does not count.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    sys.stdout.write(json.dumps(attempt(Path(sys.argv[1]), sys.argv[2])))
