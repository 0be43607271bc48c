"""An RTSP server that sends numbered pictures as H.264. For /usr/bin/python3, with Debian's packages:

    python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,ugly}

    rtsp_server.py PORT PICTURE WIDTH HEIGHT FPS FIRST [USER PASSWORD]

PICTURE holds one frame, I420. The number of a frame, counted from FIRST, is in sixteen squares of 16 pixels at its top
left, white for 1.
"""

import signal
import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  # their versions are chosen first

SQUARE, BITS = 16, 16


class Camera:
    """One number after the other for whoever looks; it goes on while nobody does."""

    def __init__(self, width: int, height: int, fps: int, picture: bytes, first: int) -> None:
        self.width, self.picture = width, picture
        self.number = first
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(
            f"( appsrc name=source is-live=true format=time do-timestamp=true "
            f"caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! "
            # One slice: FFmpeg takes the slices of one picture for several pictures as gst-rtsp-server packs them.
            f"x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={max(1, fps // 2)} ! "
            "rtph264pay config-interval=-1 name=pay0 pt=96 )"
        )
        self.factory.set_shared(True)
        self.factory.connect("media-configure", self.begin)
        self.period_ms = 1000 // fps

    def begin(self, _factory: object, media: "GstRtspServer.RTSPMedia") -> None:
        source = media.get_element().get_child_by_name("source")
        timer = GLib.timeout_add(self.period_ms, self.push, source)
        media.connect("unprepared", lambda _media: GLib.source_remove(timer))

    def push(self, source: "Gst.Element") -> bool:
        frame = bytearray(self.picture)
        squares = b"".join(bytes([235 if self.number >> bit & 1 else 16]) * SQUARE for bit in range(BITS))
        for row in range(SQUARE):
            frame[row * self.width : row * self.width + len(squares)] = squares
        source.emit("push-buffer", Gst.Buffer.new_wrapped(bytes(frame)))
        self.number += 1
        return True


def protect(server: "GstRtspServer.RTSPServer", camera: Camera, user: str, password: str) -> None:
    token, auth = GstRtspServer.RTSPToken(), GstRtspServer.RTSPAuth()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for what in ("access", "construct"):
        permissions.add_permission_for_role("user", f"media.factory.{what}", True)
    camera.factory.set_permissions(permissions)


def main(port: str, picture: str, *more: str) -> None:
    Gst.init(None)
    width, height, fps, first = map(int, more[:4])
    login = more[4:]
    camera = Camera(width, height, fps, Path(picture).read_bytes(), first)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if login:
        protect(server, camera, *login)
    server.get_mount_points().add_factory("/cam", camera.factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGTERM, loop.quit)
    loop.run()


main(*sys.argv[1:])
