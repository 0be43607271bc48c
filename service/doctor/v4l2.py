"""What a V4L2 device says of itself, by the ioctls of the kernel (Video4Linux user-space API, linux/videodev2.h)."""

import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VIDIOC_QUERYCAP = 0x80685600
VIDIOC_ENUM_FMT = 0xC0405602
VIDIOC_ENUM_FRAMESIZES = 0xC02C564A
VIDIOC_ENUM_FRAMEINTERVALS = 0xC034564B

_CAPABILITY = "16s32s32sIII12x"
"""struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps."""
_FORMAT = "III32sI16x"
"""struct v4l2_fmtdesc: index, type, flags, description, pixelformat."""
_SIZE = "III6I8x"
"""struct v4l2_frmsizeenum: index, pixel_format, type, then width and height, or min, max and step of each."""
_INTERVAL = "IIIII6I8x"
"""struct v4l2_frmivalenum: index, pixel_format, width, height, type, then two numbers each for min, max and step."""

_VIDEO_CAPTURE, _VIDEO_CAPTURE_MPLANE = 0x1, 0x1000
_DEVICE_CAPS, _IO_MC = 0x80000000, 0x20000000
_TYPES = {_VIDEO_CAPTURE: 1, _VIDEO_CAPTURE_MPLANE: 9}
"""The buffer type (enum v4l2_buf_type) of each way to capture."""
_DISCRETE = 1
_MOST = 200
"""Entries of a list, at most: a driver that never says that it was the last must not hold us up."""


@dataclass(frozen=True, slots=True)
class Size:
    """A frame size, and the frames per second that go with it; with `steps` the largest of a range."""

    width: int
    height: int
    fps: tuple[float, ...]
    steps: bool


@dataclass(frozen=True, slots=True)
class Format:
    """A pixel format such as MJPG, and its sizes."""

    fourcc: str
    description: str
    sizes: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """A device. `captures` says whether pictures come from it; those of a bare sensor (`raw_sensor`) need libcamera."""

    card: str
    driver: str
    bus: str
    captures: bool
    raw_sensor: bool
    formats: tuple[Format, ...] = field(default=())


def query(path: Path) -> Device:
    """Ask a device. It may be in use: nothing is changed.

    Raises:
        OSError: it cannot be opened, or is no V4L2 device.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = _ioctl(descriptor, VIDIOC_QUERYCAP, bytes(struct.calcsize(_CAPABILITY)))
        driver, card, bus, _, every, own = struct.unpack(_CAPABILITY, answer)
        able = own if every & _DEVICE_CAPS else every
        captures = [bit for bit in _TYPES if able & bit]
        formats = tuple(_formats(descriptor, _TYPES[captures[0]])) if captures else ()
        return Device(_text(card), _text(driver), _text(bus), bool(captures), bool(able & _IO_MC), formats)
    finally:
        os.close(descriptor)


def _formats(descriptor: int, kind: int) -> Iterator[Format]:
    for index in range(_MOST):
        try:
            answer = _ioctl(descriptor, VIDIOC_ENUM_FMT, struct.pack(_FORMAT, index, kind, 0, b"", 0))
        except OSError:  # EINVAL after the last one
            return
        _, _, _, description, pixels = struct.unpack(_FORMAT, answer)
        # The highest bit of the code stands for big endian.
        fourcc = (pixels & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").strip()
        yield Format(fourcc, _text(description), tuple(_sizes(descriptor, pixels)))


def _sizes(descriptor: int, pixels: int) -> Iterator[Size]:
    for index in range(_MOST):
        try:
            answer = _ioctl(descriptor, VIDIOC_ENUM_FRAMESIZES, struct.pack(_SIZE, index, pixels, 0, *[0] * 6))
        except OSError:
            return
        _, _, kind, *numbers = struct.unpack(_SIZE, answer)
        discrete = kind == _DISCRETE
        width, height = (numbers[0], numbers[1]) if discrete else (numbers[1], numbers[4])
        yield Size(width, height, tuple(_rates(descriptor, pixels, width, height)), not discrete)
        if not discrete:  # a range is one entry
            return


def _rates(descriptor: int, pixels: int, width: int, height: int) -> Iterator[float]:
    """Frames per second, as the device lists them; of a range the fastest."""
    for index in range(_MOST):
        asked = struct.pack(_INTERVAL, index, pixels, width, height, 0, *[0] * 6)
        try:
            answer = _ioctl(descriptor, VIDIOC_ENUM_FRAMEINTERVALS, asked)
        except OSError:
            return
        *_, kind, numerator, denominator, _, _, _, _ = struct.unpack(_INTERVAL, answer)
        if numerator:
            yield round(denominator / numerator, 2)
        if kind != _DISCRETE:
            return


def _ioctl(descriptor: int, request: int, asked: bytes) -> bytes:
    return fcntl.ioctl(descriptor, request, asked)


def _text(padded: bytes) -> str:
    return padded.split(b"\0", 1)[0].decode("utf-8", "replace")
