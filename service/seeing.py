"""Frames of a line for somebody who looks: the source is opened here, beside the daemon."""

import time
from collections.abc import Callable, Iterator

from edge.clock import SystemClock
from edge.errors import BadFrameError, EdgeError, PermanentError, SourceError, TemporaryError
from edge.frame import Frame
from edge.sources import make_source
from service.line_settings import source_settings
from service.sections import LineSection, Settings

SETTLES_S = 1.0
"""A camera that has just been opened finds its exposure and focus first."""
PATIENCE_S = 5.0
"""For a camera that is not there, is held by somebody, or has not given a frame yet."""
AT_MOST_S = 20.0
"""A source that does not give what is asked for in this time is given up, with what there is."""


def section_of(settings: Settings, name: str) -> LineSection:
    """The line of that name.

    Raises:
        PermanentError: there is none.
    """
    for section in settings.lines:
        if section.name == name:
            return section
    names = ", ".join(section.name for section in settings.lines)
    raise PermanentError(f"there is no line {name!r} in the configuration: its lines are {names}")


def frames(section: LineSection, seconds: float, each: Callable[[Frame, float], None]) -> int:
    """Hand over the frames of so many seconds, at least one; how many there were.

    Args:
        section: whose source is opened.
        seconds: after the camera has settled; 0: one frame.
        each: takes a frame, whose image is valid meanwhile, and its time, in seconds.

    Raises:
        EdgeError: the source cannot be opened or gives no frame.
    """
    source = make_source(section.name, source_settings(section), SystemClock())
    count = 0
    try:
        source.open()
        opened, first = time.monotonic(), None
        begins = SETTLES_S if source.live else 0.0
        for number, frame in enumerate(_read(source.read)):
            first = first or time.monotonic()
            # Files that come as fast as they are read have no time: 30 frames count for a second.
            at = number / 30 if source.on_demand else time.monotonic() - first
            if at >= begins:
                each(frame, at)
                count += 1
            if (count and at >= begins + seconds) or time.monotonic() > opened + AT_MOST_S:
                break
    except TemporaryError as error:
        if count == 0:
            raise _held(section, error) from error
    finally:
        source.close()
    if count == 0:
        raise PermanentError(f"the source of line {section.name} has given no frame: check it with edgecls doctor")
    return count


def _read(read: Callable[[], Frame | None]) -> Iterator[Frame]:
    """Until its end, or until it gives none for so long that there is none to be had."""
    bad, deadline = 0, time.monotonic() + PATIENCE_S
    while bad < 100:
        try:
            frame = read()
        except BadFrameError:
            bad += 1
        except SourceError:  # it may come yet
            if time.monotonic() > deadline:
                raise
        except TimeoutError:
            if time.monotonic() > deadline:
                return
        else:
            if frame is None:
                return
            yield frame
            deadline = time.monotonic() + PATIENCE_S


def _held(section: LineSection, error: EdgeError) -> EdgeError:
    return PermanentError(
        f"{error}. A camera can be opened once: if edgecls runs, stop it meanwhile with `systemctl stop edgecls` "
        f"(line {section.name})"
    )
