"""What the OpenCV inside can read."""

import re
from collections.abc import Iterator

import cv2

from service.doctor.finding import Finding, error, note, ok

_LINE = re.compile(r"^\s+(FFMPEG|GStreamer|v4l/v4l2):\s+(.*)$", re.MULTILINE)
_NAMES = {"v4l/v4l2": "V4L2", "FFMPEG": "FFmpeg", "GStreamer": "GStreamer"}


def opencv(told: str) -> Iterator[Finding]:
    """Which kinds of sources it was built with.

    Args:
        told: `cv2.getBuildInformation()`.
    """
    found = {_NAMES[name]: value.startswith("YES") for name, value in _LINE.findall(told)}
    there = [name for name in _NAMES.values() if found.get(name)]
    facts = {"version": cv2.__version__, **{name.lower(): found.get(name, False) for name in _NAMES.values()}}
    text = f"{cv2.__version__} with {', '.join(there) or 'no way to read a camera or a video'}"
    missing = [name for name in ("V4L2", "FFmpeg") if not found.get(name)]
    if missing:
        lack = {"V4L2": "cameras", "FFmpeg": "videos and streams"}
        text += f"; without {' and '.join(missing)} there are no {' and '.join(lack[name] for name in missing)}"
        yield error("OpenCV", text, "pip install opencv-python-headless into edgecls's environment", **facts)
    else:
        yield ok("OpenCV", text, **facts)
    if not found.get("GStreamer"):
        text = "was built without GStreamer: CSI cameras of a Jetson and pipelines cannot be read"
        yield note("OpenCV", text, "needed for these alone: a build of OpenCV with GStreamer (docs/install.md)")
