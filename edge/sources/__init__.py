"""Where frames come from, and the one place that knows every kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edge.clock import Clock
from edge.frame import Frame, Image
from edge.sources.camera import CameraSource
from edge.sources.images import ImagesSource
from edge.sources.video import VideoSource


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A V4L2 camera: a device path (`/dev/v4l/by-id/…` stays the same after a reboot) or an index."""

    camera: str | int
    width: int | None = None
    height: int | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class VideoSettings:
    """A video file, at its own speed or as fast as it can be inspected."""

    video: Path
    pace: Literal["realtime", "asap"] = "realtime"
    loop: bool = False


@dataclass(frozen=True, slots=True)
class ImagesSettings:
    """Image files: a pattern such as `dir/*.jpg`, in the order of their names."""

    images: str


SourceSettings = CameraSettings | VideoSettings | ImagesSettings


class Source(Protocol):
    """Yields the frames of one line. Every method blocks and raises; the owner retries. Used by one thread."""

    live: bool
    """True when frames come at their own pace and an old one is worthless; False when none may be lost."""

    on_demand: bool
    """True when a frame is there as soon as it is asked for; False when frames come at a pace."""

    def open(self) -> None:
        """Get ready to read.

        Raises:
            SourceError: not now; try again later.
            SourceNotUsableError: not before somebody changes something.
        """

    def read(self, into: Image | None = None) -> Frame | None:
        """The next frame, or None at the end. Its image belongs to the caller.

        Args:
            into: (height, width, 3) uint8: where its image lies afterwards, if it has that size.

        Raises:
            BadFrameError: this one cannot be read, the next one may.
            SourceError: the source is gone; close it and open it again.
        """

    def close(self) -> None:
        """Let go of the device or file. Harmless when it is not open."""


def make_source(line: str, settings: SourceSettings, clock: Clock) -> Source:
    """The source that the settings describe, not yet open."""
    match settings:
        case CameraSettings():
            return CameraSource(
                line, settings.camera, width=settings.width, height=settings.height, fps=settings.fps, clock=clock
            )
        case VideoSettings():
            return VideoSource(line, settings.video, clock, realtime=settings.pace == "realtime", loop=settings.loop)
        case ImagesSettings():
            return ImagesSource(line, settings.images, clock)
