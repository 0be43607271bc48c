"""The cameras of this device: their lasting names, what they give, who has them, and who may."""

import grp
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.doctor import v4l2
from service.doctor.case import Case, camera_of
from service.doctor.finding import Finding, error, note, ok, warning
from service.doctor.locks import holders
from service.doctor.system import System
from service.sections import Settings

_GROUP = "video"
"""The service is in it."""
_MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Camera:
    """A /dev/videoN. `links` are its lasting names, that by id first."""

    device: Path
    name: str
    links: tuple[str, ...]

    @property
    def lasting(self) -> str:
        """What to write into a configuration."""
        return self.links[0] if self.links else str(self.device)


def cameras(case: Case) -> Iterator[Finding]:
    """Each that captures; and that there is none, when there is none."""
    found = 0
    for camera in listed(case.system):
        for finding in _examined(camera, case):
            found += 1
            yield finding
    wants = case.settings is not None and any(camera_of(line) for line in case.settings.lines)
    if not found:
        remedy = "plug one in, then: ls -l /dev/v4l/by-id; a CSI camera of a Pi is seen by: rpicam-hello --list-cameras"
        yield (error if wants else note)("cameras", "this device has no V4L2 camera", remedy)


def listed(system: System) -> list[Camera]:
    """Every /dev/videoN in the order of the numbers, with its lasting names."""
    links: dict[str, list[str]] = {}
    for folder in ("by-id", "by-path"):
        for link in sorted(system.file(f"/dev/v4l/{folder}").glob("*")):
            links.setdefault(link.resolve().name, []).append(f"/dev/v4l/{folder}/{link.name}")
    nodes = [node for node in system.file("/sys/class/video4linux").glob("video*") if node.name[5:].isdigit()]
    return [
        Camera(
            system.file(f"/dev/{node.name}"),
            system.text(f"/sys/class/video4linux/{node.name}/name") or node.name,
            tuple(links.get(node.name, ())),
        )
        for node in sorted(nodes, key=lambda node: int(node.name[5:]))
    ]


def _examined(camera: Camera, case: Case) -> Iterator[Finding]:
    subject = f"camera {camera.device}"
    try:
        seen = v4l2.query(camera.device)
    except OSError as reason:
        yield _unopened(camera, subject, reason)
        return
    if not seen.captures:  # a decoder, a scaler, the metadata of a camera
        return
    if seen.raw_sensor:
        text = f"{camera.name} is a bare sensor ({seen.driver}): its pictures come through libcamera"
        yield note(subject, text, "read it with a `command` source: rpicam-vid (docs/configuration.md)")
        return
    facts = {
        "device": str(camera.device),
        "name": seen.card,
        "driver": seen.driver,
        "bus": seen.bus,
        "links": list(camera.links),
        "formats": [
            {"fourcc": one.fourcc, "description": one.description, "sizes": [_size_facts(size) for size in one.sizes]}
            for one in seen.formats
        ],
    }
    yield ok(subject, f"{seen.card}: {camera.lasting}; {_formats(seen.formats)}", **facts)
    if not camera.links:
        text = "it has no lasting name: after a reboot this number may be another camera"
        yield note(subject, text, "ls -l /dev/v4l/by-path; it comes with udev")
    yield from _access(camera, subject)
    yield from _holders(camera, subject, case)


def _unopened(camera: Camera, subject: str, reason: OSError) -> Finding:
    if isinstance(reason, PermissionError):
        text = f"{camera.name}: this user may not open it"
        return warning(
            subject, text, f"sudo usermod -aG {_GROUP} $USER, then log in again; or run the doctor with sudo"
        )
    return error(subject, f"{camera.name}: it cannot be asked ({reason.strerror})", "plug it in again; see sudo dmesg")


def _size_facts(size: v4l2.Size) -> dict[str, object]:
    return {"width": size.width, "height": size.height, "fps": list(size.fps), "steps": size.steps}


def _formats(formats: tuple[v4l2.Format, ...]) -> str:
    """Such as "MJPG up to 1920x1080 at 30 fps, YUYV up to 640x480 at 30 fps"."""
    told = []
    for one in formats[:_MOST_SHOWN]:
        largest = max(one.sizes, key=lambda size: size.width * size.height, default=None)
        size = f" up to {largest.width}x{largest.height}" if largest else ""
        fps = f" at {max(largest.fps):g} fps" if largest and largest.fps else ""
        told.append(f"{one.fourcc}{size}{fps}")
    if len(formats) > _MOST_SHOWN:
        told.append(f"{len(formats) - _MOST_SHOWN} formats more")
    return ", ".join(told) or "it lists no formats"


def _access(camera: Camera, subject: str) -> Iterator[Finding]:
    """Whether the group of the service may open it."""
    seen = camera.device.stat()
    try:
        group = grp.getgrgid(seen.st_gid).gr_name
    except KeyError:
        group = str(seen.st_gid)
    if group != _GROUP or seen.st_mode & 0o060 != 0o060:
        text = f"it belongs to the group {group} (mode {seen.st_mode & 0o777:o}), and the service is in {_GROUP}"
        yield warning(subject, text, f"sudo chgrp {_GROUP} {camera.device} && sudo chmod 660 {camera.device}")


def _holders(camera: Camera, subject: str, case: Case) -> Iterator[Finding]:
    for pid, name in holders(camera.device):
        if pid == case.daemon_pid:
            yield ok(subject, f"the running daemon has it (process {pid})", holder=pid)
        else:
            text = f"{name} (process {pid}) has it open: nobody else can read from it meanwhile"
            yield warning(subject, text, f"end that program if it is not wanted: sudo kill {pid}", holder=pid)


def names(case: Case, settings: Settings) -> Iterator[Finding]:
    """Whether the lines name their cameras so that it is the same one after a reboot."""
    lasting = {camera.device.name: camera.links for camera in listed(case.system)}
    for line in settings.lines:
        device = Path(camera_of(line) or "")
        if device.parent == Path("/dev") and (links := lasting.get(device.name)):
            text = f"it names {device}, which may be another camera after a reboot"
            yield note(line.name, text, f"set source: {{camera: {links[0]}}}")
