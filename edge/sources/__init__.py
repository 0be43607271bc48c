"""Where frames come from, and the one place that knows every kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edge.clock import Clock
from edge.frame import Frame, Image
from edge.sources.camera import CameraSettings
from edge.sources.child import ChildSource
from edge.sources.command import CommandSettings
from edge.sources.gstreamer import GStreamerSettings
from edge.sources.images import ImagesSource
from edge.sources.live import LiveSettings
from edge.sources.rtsp import RtspSettings
from edge.sources.video import VideoSource
from edge.sources.watch import WatchSource

__all__ = [
    "CameraSettings",
    "CommandSettings",
    "GStreamerSettings",
    "ImagesSettings",
    "RtspSettings",
    "Source",
    "SourceSettings",
    "VideoSettings",
    "make_source",
]


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """A video file, at its own speed or as fast as it can be inspected."""

    video: Path
    pace: Literal["realtime", "asap"] = "realtime"
    loop: bool = False


@dataclass(frozen=True, slots=True)
class ImagesSettings:
    """Image files: a pattern such as `dir/*.jpg`.

    Attributes:
        images: the pattern.
        record: where to keep what was inspected, and then files are inspected as they come, without an end; None: those
            that are there, in the order of their names.
    """

    images: str
    record: Path | None = None


SourceSettings = LiveSettings | VideoSettings | ImagesSettings


class Source(Protocol):
    """Yields the frames of one line. Every method blocks and raises; the owner retries. Used by one thread."""

    live: bool
    """True when frames come at their own pace and an old one is worthless: `read` gives the newest. False when none may
    be lost."""

    on_demand: bool
    """True when a frame is there as soon as it is asked for; False when frames come at a pace."""

    ahead: bool
    """Whether frames may be read while the ones before are inspected."""

    dropped: int
    """How many frames a newer one has replaced before they were read."""

    def open(self) -> None:
        """Get ready to read.

        Raises:
            SourceError: not now; try again later.
            SourceNotUsableError: not before somebody changes something.
        """

    def read(self, into: Image | None = None) -> Frame | None:
        """The next frame, or None at the end. Its image is valid until the next call.

        Args:
            into: (height, width, 3) uint8: where its image lies afterwards, if it has that size; a live source has
                buffers of its own.

        Raises:
            BadFrameError: this one cannot be read, the next one may.
            SourceError: there is none at present, and why; the source looks for it. Ask again.
            TimeoutError: there is none yet. Ask again.
            PermanentError: there will be none before somebody changes something.
        """

    def close(self) -> None:
        """Let go of the device or file. Harmless when it is not open."""


def make_source(line: str, settings: SourceSettings, clock: Clock) -> Source:
    """The source that the settings describe, not yet open."""
    match settings:
        case VideoSettings():
            return VideoSource(line, settings.video, clock, realtime=settings.pace == "realtime", loop=settings.loop)
        case ImagesSettings():
            if settings.record is not None:
                return WatchSource(line, settings.images, clock, settings.record)
            return ImagesSource(line, settings.images, clock)
        case _:
            return ChildSource(line, settings, clock)
