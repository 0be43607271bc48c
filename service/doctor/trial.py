"""`python -m service.doctor.trial FILE LINE FOLDER`: opens the source of a line, reads for a moment, and prints JSON.

A process of its own: a camera may hang, and a decoder that does not survive what it is given ends it.
"""

import json
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.errors import BadFrameError, EdgeError, SourceError
from edge.sources import Source, make_source
from service.line_settings import source_settings
from service.settings import load_settings

LIMIT_S = 20.0
"""For opening, the first frame, and reading; a source that takes longer hangs."""
FIRST_S = 8.0
"""For the first frame."""
READ_S = 2.0
"""Of a source that has a pace."""
MOST_BAD = 20
AGAIN_S = 0.1


@dataclass(slots=True)
class _Seen:
    """What came of a source: when, how large, how many that could not be read, and why there was nothing."""

    why: str
    times: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    bad: int = 0


def attempt(file: Path, line: str) -> dict[str, Any]:
    """Size of the frames and how many come in a second, or `error` with the sentence of the source."""
    settings = load_settings(file)
    (section,) = (one for one in settings.lines if one.name == line)
    source = make_source(line, source_settings(section), SystemClock())
    seen = _Seen(f"the source of {line} gives nothing: see whether it sends")
    begin = time.monotonic()
    try:
        source.open()
        _read(source, seen, begin)
    except EdgeError as error:
        seen.why = str(error)
    finally:
        source.close()
    if not seen.times:
        return {"error": seen.why}
    span = seen.times[-1] - seen.times[0]
    return {
        "width": seen.size[0],
        "height": seen.size[1],
        "first_frame_s": round(seen.times[0] - begin, 2),
        "fps": round((len(seen.times) - 1) / span, 1) if span > 0 else None,
        "bad_frames": seen.bad,
    }


def _read(source: Source, seen: _Seen, begin: float) -> None:
    """One frame of a source that has them ready, all that come in `READ_S` of one that has a pace."""
    while time.monotonic() - begin < (FIRST_S if not seen.times else FIRST_S + READ_S):
        try:
            frame = source.read()
        except BadFrameError as error:
            seen.bad, seen.why = seen.bad + 1, str(error)
            if seen.bad > MOST_BAD:
                return
        except SourceError as error:  # it may come yet
            seen.why = str(error)
            time.sleep(AGAIN_S)
        except TimeoutError:  # the same, and it is known how long that took
            continue
        else:
            if frame is None:
                return
            seen.times.append(time.monotonic())
            seen.size = (frame.image.shape[1], frame.image.shape[0])
            if source.on_demand or seen.times[-1] - seen.times[0] > READ_S:
                return


if __name__ == "__main__":
    logging.disable()
    # It ends this process whatever the source is doing. Loading all of this, which can take long, does not count.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    os.chdir(sys.argv[3])  # where the user stands
    sys.stdout.write(json.dumps(attempt(Path(sys.argv[1]), sys.argv[2])))
