"""A camera through Video4Linux."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2

from edge.clock import Clock
from edge.errors import SourceError
from edge.frame import Frame, Image
from edge.sources.opened import About

_CLASS = Path("/sys/class/video4linux")
_OLDEST_S = 5.0
"""A driver's time stamp that says more than this is not believed."""


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A V4L2 camera, and what it is to be set to; None leaves it as it is.

    Attributes:
        camera: a device path (`/dev/v4l/by-id/…` stays the same after a reboot), a number, or `serial:` and its own.
        width, height, fps: asked of the camera, which may give others.
        format: four letters, such as MJPG.
        exposure, focus, white_balance: `auto`, or a value as the driver counts it (white balance in kelvin).
        gain: as the driver counts it.
        lost_after_s: without a frame for so long it counts as lost.
    """

    camera: str | int
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    format: str | None = None
    exposure: float | Literal["auto"] | None = None
    focus: float | Literal["auto"] | None = None
    gain: float | None = None
    white_balance: float | Literal["auto"] | None = None
    lost_after_s: float = 1.5


class CameraSource:
    """Frames at the camera's pace."""

    open_limit_s = 10.0
    group = 0

    def __init__(self, line: str, settings: CameraSettings, clock: Clock, identity: str = "") -> None:
        self._line = line
        self._settings = settings
        self._clock = clock
        self._identity = identity
        self._capture: cv2.VideoCapture | None = None
        self._seq = 0

    @property
    def _name(self) -> str:
        return f"camera {self._settings.camera}"

    def open(self) -> About:
        device = self._device()
        identity = identity_of(device)
        # A number that is free goes to the next camera that is plugged in. Without anything that tells two cameras of
        # a kind apart, the path that the user chose decides: udev made it.
        if self._identity not in ("", identity):
            raise SourceError(
                f"{self._name} is another camera now ({identity}, not {self._identity}): plug the right one in, "
                "give its path in /dev/v4l/by-id, or restart the line if the other one is meant"
            )
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                f"{self._name} cannot be opened: another program may be using it, "
                "or this user may not read it (group `video`)"
            )
        self._capture = capture
        about = self._set_up(capture, identity)
        if self._device() != device or identity_of(device) != identity:
            raise SourceError(f"{self._name} was exchanged while it was opened: it is opened again")
        self._identity = identity
        return about

    def read(self, into: Image | None = None) -> Frame:
        if self._capture is None:
            raise RuntimeError("read before open")
        good = self._capture.grab()
        captured_at_ns = self._clock.now_ns() - self._age_ns()
        if good:
            good, image = self._capture.retrieve(into)  # a new array when there is none, or of another size
        if not good or not image.size:
            raise SourceError(f"{self._name} delivers no frames: it was unplugged, has failed, or waits for a trigger")
        seq, self._seq = self._seq, self._seq + 1
        return Frame(self._line, seq, image, captured_at_ns)  # type: ignore[arg-type]  # OpenCV's stubs know no dtype; frames are uint8 BGR

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _device(self) -> str:
        """The device file itself, as of now."""
        wanted = str(self._settings.camera)
        if wanted.startswith("serial:"):
            return _device_with(wanted.removeprefix("serial:"))
        path = Path(f"/dev/video{wanted}" if wanted.isdecimal() else wanted)
        if not path.exists():
            raise SourceError(f"camera {path} is not there: plug it in, or list the cameras with `ls /dev/v4l/by-id`")
        return str(path.resolve())

    def _age_ns(self) -> int:
        """How long ago the frame that was just grabbed was exposed, as the driver says, by the monotonic clock."""
        assert self._capture is not None  # noqa: S101  # it has just been read
        age_s = time.monotonic() - self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return int(age_s * 1e9) if 0 <= age_s < _OLDEST_S else 0

    def _set_up(self, capture: cv2.VideoCapture, identity: str) -> About:
        """Set what is asked for, and read back what the camera made of it."""
        wanted = self._settings
        if wanted.format is not None:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.format))
        asked = {name: getattr(wanted, name) for name in _SIZES}
        for name, key in _SIZES.items():
            if asked[name] is not None:
                capture.set(key, asked[name])
        given = {name: capture.get(key) for name, key in _SIZES.items()}
        letters = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
        gives = [f"{given['width']:.0f}x{given['height']:.0f} {letters} at {given['fps']:.4g} fps"]
        differs = [
            f"{name} {given[name]:.4g}, not {value:.4g}"
            for name, value in asked.items()
            if value is not None and abs(value - given[name]) > value / 100
        ]
        if wanted.format not in (None, letters):
            differs.append(f"format {letters}, not {wanted.format}")
        for name, control in _CONTROLS.items():
            if (value := getattr(wanted, name)) is None:
                continue
            if (gave := control.set(capture, value)) == value:
                gives.append(f"{name} {gave}")
            else:
                differs.append(f"{name} {gave}, not {value}")
        return About(", ".join(gives), ", ".join(differs), identity)


_SIZES = {"width": cv2.CAP_PROP_FRAME_WIDTH, "height": cv2.CAP_PROP_FRAME_HEIGHT, "fps": cv2.CAP_PROP_FPS}


@dataclass(frozen=True, slots=True)
class _Control:
    """One thing that a camera does by itself or as told: its value, and the switch with its two positions."""

    value: int
    switch: int | None = None
    by_hand: float = 0
    automatic: float = 1

    def set(self, capture: cv2.VideoCapture, value: float | Literal["auto"]) -> float | str:
        """What the camera made of it: a value, `auto`, or that it cannot."""
        if value == "auto":
            if self.switch is None:
                return "not to be set"
            capture.set(self.switch, self.automatic)
            return "auto" if capture.get(self.switch) == self.automatic else "not automatic"
        if self.switch is not None:
            capture.set(self.switch, self.by_hand)
        capture.set(self.value, value)
        got = capture.get(self.value)
        return "not to be set" if got == -1 else got


_CONTROLS = {
    # V4L2's own numbers: exposure by hand is 1, automatic by way of the aperture 3.
    "exposure": _Control(cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_AUTO_EXPOSURE, by_hand=1, automatic=3),
    "focus": _Control(cv2.CAP_PROP_FOCUS, cv2.CAP_PROP_AUTOFOCUS),
    "white_balance": _Control(cv2.CAP_PROP_WB_TEMPERATURE, cv2.CAP_PROP_AUTO_WB),
    "gain": _Control(cv2.CAP_PROP_GAIN),
}


def _text_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def identity_of(device: str) -> str:
    """Which camera has this device file: what USB says of it and where it is plugged in, or what its driver says."""
    entry = _CLASS / Path(device).name
    if not entry.exists():
        return ""
    hardware = (entry / "device").resolve()
    index = _text_in(entry / "index")
    usb = hardware.parent  # of an interface: the device
    if (usb / "idVendor").exists():
        maker = f"{_text_in(usb / 'idVendor')}:{_text_in(usb / 'idProduct')}"
        serial = _text_in(usb / "serial")
        return f"{maker} {f'serial {serial}' if serial else f'at {usb.name}'} video {index}"
    return f"{_text_in(entry / 'name')} at {hardware.name} video {index}"


def _device_with(serial: str) -> str:
    """The device file that delivers the pictures of the camera with this serial number."""
    for entry in sorted(_CLASS.glob("video*")):
        usb = (entry / "device").resolve().parent
        if _text_in(usb / "serial") == serial and _text_in(entry / "index") in ("", "0"):
            return f"/dev/{entry.name}"
    raise SourceError(
        f"no camera with serial number {serial} is there: plug it in; "
        "`grep . /sys/class/video4linux/*/device/../serial` lists those that are"
    )
