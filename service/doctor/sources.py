"""Each configured source, tried: opened, a frame taken, held against what the line asks for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service.doctor.case import Case, camera_of, reads_files
from service.doctor.child import AskError, ask
from service.doctor.finding import Finding, error, note, ok, sentence, warning
from service.doctor.locks import holders
from service.sections import LineSection

_TIMEOUT_S = 120.0
"""With the start of the process on a slow device; the source itself has `trial.LIMIT_S`."""
_FEWER = 0.8
"""So much of the frames per second that were asked for is as good as all of them."""


Attempt = Callable[[Path, str], dict[str, Any]]


def in_a_process(file: Path, line: str) -> dict[str, Any]:
    """What `service.doctor.trial` finds.

    Raises:
        AskError: the source hangs, or has ended the process.
    """
    return ask("service.doctor.trial", str(file), line, str(Path.cwd()), timeout_s=_TIMEOUT_S)


def source(case: Case, line: LineSection, attempt: Attempt = in_a_process) -> Iterator[Finding]:
    """Whether the source of a line delivers what the line needs.

    Args:
        case: knows whether sources are to be tried, and who the daemon is.
        line: which.
        attempt: tries it.
    """
    if not case.try_sources:
        yield note(line.name, "its source was not tried", "leave out --no-sources")
        return
    if case.daemon_pid is not None and not reads_files(line):
        text = f"its source is read by the running daemon (process {case.daemon_pid}), and was not tried"
        yield note(line.name, text, "see what the daemon says of it: systemctl status edgecls", holder=case.daemon_pid)
        return
    for pid, name in holders(Path(camera_of(line) or "")) if camera_of(line) else ():
        text = f"its camera is in use by {name} (process {pid}), and was not tried"
        yield error(line.name, text, f"end that program: sudo kill {pid}", holder=pid)
        return
    try:
        seen = attempt(case.config, line.name)
    except AskError as reason:
        text = f"its source cannot be tried: {reason}"
        yield error(line.name, text, "plug the camera in again, or convert the file; then try again")
        return
    if "error" in seen:
        yield error(line.name, *sentence(seen["error"]))
        return
    yield _delivers(line, seen)
    yield from _as_asked(line, seen)
    yield from _region(line, seen)


def _delivers(line: LineSection, seen: dict[str, object]) -> Finding:
    fps = f" at {seen['fps']:g} fps" if seen["fps"] else ""
    text = f"its source delivers {seen['width']}x{seen['height']}{fps}, the first frame after {seen['first_frame_s']} s"
    if seen["bad_frames"]:
        remedy = "see what is wrong with them in the log: journalctl -u edgecls"
        return warning(line.name, f"{text}; {seen['bad_frames']} frames could not be read", remedy, **seen)
    return ok(line.name, text, **seen)


def _as_asked(line: LineSection, seen: dict[str, object]) -> Iterator[Finding]:
    """A camera takes what it can of width, height and fps, and says nothing."""
    if camera_of(line) is None:
        return
    asked = {key: getattr(line.source, key) for key in ("width", "height")}
    if any(wanted not in (None, seen[key]) for key, wanted in asked.items()):
        wanted = f"{asked['width'] or 'any'}x{asked['height'] or 'any'}"
        text = f"{wanted} was asked for, and the camera gives {seen['width']}x{seen['height']}"
        yield warning(line.name, text, "set width and height to a size of its list: edgecls doctor --section cameras")
    fps, asked_fps = seen["fps"], getattr(line.source, "fps", None)
    if isinstance(fps, float) and asked_fps and fps < _FEWER * asked_fps:
        text = f"{asked_fps:g} fps were asked for, and the camera gives {fps:g}"
        yield warning(
            line.name, text, "give it more light, or set fps to one of its list: edgecls doctor --section cameras"
        )


def _region(line: LineSection, seen: dict[str, object]) -> Iterator[Finding]:
    if line.roi is None:
        return
    x, y, width, height = line.roi
    frame = f"{seen['width']}x{seen['height']}"
    if x + width <= int(str(seen["width"])) and y + height <= int(str(seen["height"])):
        yield ok(line.name, f"its roi {line.roi} fits into {frame}")
    else:
        yield error(
            line.name,
            f"its roi {line.roi} does not fit into {frame}",
            f"set roi inside [0, 0, {frame.replace('x', ', ')}]",
        )
