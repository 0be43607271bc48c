"""Sources whose frames come at a pace of their own, and the one place that knows every kind of them.

They are read in a capture process (`reader.py`), since a decoder or a driver may hang or crash.
"""

from typing import Any, Protocol, TypeAlias

from edge.clock import Clock
from edge.frame import Frame, Image
from edge.sources.camera import CameraSettings, CameraSource
from edge.sources.command import CommandSettings, CommandSource
from edge.sources.gstreamer import GStreamerSettings, GStreamerSource
from edge.sources.opened import About
from edge.sources.rtsp import RtspSettings, RtspSource

LiveSettings: TypeAlias = CameraSettings | RtspSettings | GStreamerSettings | CommandSettings


class Live(Protocol):
    """A live source as the capture process sees it. Used by one thread, except where it says otherwise."""

    open_limit_s: float
    """`open` takes no longer, unless it hangs."""
    group: int
    """The process group of a program that works for it, 0 for none. It must end when the source does."""

    def open(self) -> About:
        """Get ready to read, after `close` too.

        Raises:
            SourceError: not now; try again.
            SourceNotUsableError: not before somebody changes something.
        """

    def read(self, into: Image | None = None) -> Frame:
        """The next frame, stamped with the time at which it was grabbed.

        Args:
            into: (height, width, 3) uint8: where its image lies afterwards, if it has that size.

        Raises:
            SourceError: there is none; close it and open it again.
        """

    def close(self) -> None:
        """Let go of it. Harmless when it is not open."""


_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "camera": (CameraSettings, CameraSource),
    "rtsp": (RtspSettings, RtspSource),
    "gstreamer": (GStreamerSettings, GStreamerSource),
    "command": (CommandSettings, CommandSource),
}


def kind_of(settings: LiveSettings) -> str:
    """Its name among the kinds."""
    return next(kind for kind, (made_of, _) in _KINDS.items() if isinstance(settings, made_of))


def make_live(line: str, kind: str, fields: dict[str, Any], clock: Clock, identity: str = "") -> Live:
    """A source of this kind, to be read in this very process; not yet open.

    Args:
        line: its name.
        kind: one of the kinds.
        fields: of the settings of that kind.
        clock: stamps the frames.
        identity: of the camera that it was before, if it is to be none but that.
    """
    made_of, source = _KINDS[kind]
    made: Live = source(line, made_of(**fields), clock, identity)
    return made
