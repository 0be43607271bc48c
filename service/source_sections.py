"""`source`: where the frames of a line come from, one kind of mapping for each kind of source."""

import re
import shlex
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from edge.sources.command import PixelFormat
from service.section import FileName, Section, UpTo65535
from service.yaml_lines import shown

LOST_AFTER_S = 1.5


def _camera(value: Any) -> Any:
    if (isinstance(value, str) and value) or (type(value) is int and 0 <= value <= 255):
        return value
    raise ValueError(f"must be a device such as /dev/v4l/by-id/… or a number from 0 to 255, not {shown(value)}")


def _fourcc(value: str) -> str:
    if re.fullmatch(r"[A-Z0-9]{4}", value):
        return value
    raise ValueError(f"must be the four letters of a format, such as MJPG or YUYV, not {shown(value)}")


def _control(value: Any) -> Any:
    if value == "auto" or (type(value) in (int, float) and 0 <= value <= 1_000_000):
        return value
    raise ValueError(f"must be auto or a number from 0 to 1000000, not {shown(value)}")


def _stream(url: str) -> str:
    # The value is not repeated: people put passwords into addresses.
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("rtsp", "rtsps") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or re.search(r"[\s|;\x00-\x1f]", url):
        raise ValueError("must be an address such as rtsp://10.0.0.7:554/stream1")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or a password; give username and password_file beside it")
    return url


def _pipeline(text: str) -> str:
    if re.search(r"\bappsink\b", text):
        return text
    raise ValueError("must end in an appsink, such as `… ! videoconvert ! video/x-raw,format=BGR ! appsink`")


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({error}); close the quote") from error
    if not words or "\0" in text:
        raise ValueError("must name a program, such as rpicam-vid")
    return text


LostAfter = Annotated[float, Field(ge=0.5, le=3600)]
Control = Annotated[float | Literal["auto"], BeforeValidator(_control)]


class CameraSection(Section):
    """`source: {camera: …}`: a V4L2 camera."""

    camera: Annotated[int | str, BeforeValidator(_camera)]
    width: UpTo65535 | None = None
    height: UpTo65535 | None = None
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    format: Annotated[str, AfterValidator(_fourcc)] | None = None
    exposure: Control | None = None
    focus: Control | None = None
    gain: Annotated[float, Field(ge=0, le=1_000_000)] | None = None
    white_balance: Control | None = None
    lost_after_s: LostAfter = LOST_AFTER_S

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        fps, lost_after_s = given.get("fps", 30), given.get("lost_after_s", LOST_AFTER_S)
        numbers = (int, float)
        if type(fps) in numbers and type(lost_after_s) in numbers and 0 < fps * lost_after_s < 2:
            text = f"is a frame every {1 / fps:.3g} s, and without one for {lost_after_s:g} s the camera counts as lost"
            yield "fps", f"{text}; give a lost_after_s of {2 / fps:.3g} or more"


class RtspSection(Section):
    """`source: {rtsp: …}`: a network camera."""

    rtsp: Annotated[str, AfterValidator(_stream)]
    transport: Literal["tcp", "udp"] = "tcp"
    username: Annotated[str, Field(min_length=1)] | None = None
    password_file: FileName | None = None
    lost_after_s: LostAfter = LOST_AFTER_S

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if "password_file" in given and "username" not in given:
            yield "password_file", "needs a username beside it; add one"


class GStreamerSection(Section):
    """`source: {gstreamer: …}`: a pipeline that ends in an appsink."""

    gstreamer: Annotated[str, AfterValidator(_pipeline)]
    lost_after_s: LostAfter = LOST_AFTER_S


class CommandSection(Section):
    """`source: {command: …}`: a program that writes raw frames to its standard output."""

    command: Annotated[str, AfterValidator(_command)]
    width: UpTo65535
    height: UpTo65535
    pixel_format: PixelFormat = "bgr24"
    lost_after_s: LostAfter = LOST_AFTER_S

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        even = {"yuv420": ("width", "height"), "nv12": ("width", "height"), "yuyv": ("width",)}
        pixel_format = given.get("pixel_format")
        for key in even.get(pixel_format, ()) if isinstance(pixel_format, str) else ():
            if type(given.get(key)) is int and given[key] % 2:
                yield key, f"must be even with pixel_format {pixel_format}, not {given[key]}"


class VideoSection(Section):
    """`source: {video: …}`: a video file."""

    video: FileName
    pace: Literal["realtime", "asap"] = "realtime"
    loop: bool = False


class ImagesSection(Section):
    """`source: {images: …}`: image files."""

    images: FileName
    watch: bool = False


SOURCE_KINDS: dict[str, type[Section]] = {
    "camera": CameraSection,
    "rtsp": RtspSection,
    "gstreamer": GStreamerSection,
    "command": CommandSection,
    "video": VideoSection,
    "images": ImagesSection,
}


def _kind_of_source(value: Any) -> str | None:
    keys = dict(value) if isinstance(value, dict | Section) else {}
    kinds = [kind for kind in SOURCE_KINDS if kind in keys]
    return f"<{kinds[0]}>" if len(kinds) == 1 else None


SourceSection = Annotated[
    Annotated[CameraSection, Tag("<camera>")]
    | Annotated[RtspSection, Tag("<rtsp>")]
    | Annotated[GStreamerSection, Tag("<gstreamer>")]
    | Annotated[CommandSection, Tag("<command>")]
    | Annotated[VideoSection, Tag("<video>")]
    | Annotated[ImagesSection, Tag("<images>")],
    Discriminator(_kind_of_source),
]
"""The tags are written in angle brackets so that they cannot be mistaken for keys where an error is placed."""
