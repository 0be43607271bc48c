"""What a capture process and the daemon say to each other, and where the pictures lie.

The first packet is the order: JSON, from the daemon. From then on (`edge.packets`):

    daemon                      capture process
                    <---------  Opening, Opened, Lost: how its source fares; Runs: which processes it has started
                    <---------  Buffers: with a new shared memory, before the first picture and when the size changes
    Want            --------->
                    <---------  Alive, as long as there is no picture that was not taken yet
                    <---------  Captured: the newest picture, which is in that slot and stays there until the next Want

`Want` gives the slot before back. Of three slots one is with the daemon, one holds the newest picture and one is being
written to, so nobody waits for anybody, and nothing is copied. The end of the connection ends the capture process.
"""

import fcntl
import json
import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from edge.frame import Image
from edge.packets import Packets, ProtocolError

SLOTS = 3
ORDER_BYTES = 65536
TEXT_BYTES = 1024
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_LARGEST = 65535


class Opening(NamedTuple):
    """The source is being opened, which takes so long at most."""

    limit_ms: int


class Opened(NamedTuple):
    """It is open: what it gives, how that differs from what was asked, and which camera it is; UTF-8."""

    gives: bytes
    differs: bytes
    identity: bytes


class Lost(NamedTuple):
    """It has no pictures, and why. `for_good`: until somebody changes something; else it is tried again."""

    for_good: int
    why: bytes


class Buffers(NamedTuple):
    """Where the next pictures lie; the shared memory comes with it."""

    width: int
    height: int


class Captured(NamedTuple):
    """A picture. `dropped`: how many were captured so far and replaced by a newer one before they were wanted."""

    seq: int
    slot: int
    captured_at_ns: int
    dropped: int


class Alive(NamedTuple):
    """Nothing has happened."""


class Runs(NamedTuple):
    """Another program works for the source, as this process group; 0: not any more."""

    group: int


class Want(NamedTuple):
    """The newest picture, please, or the next one."""


Message: TypeAlias = Opening | Opened | Lost | Buffers | Captured | Alive | Runs | Want

PACKETS = Packets(
    b"ring",
    1,
    {
        1: (Opening, struct.Struct("<I")),
        2: (Opened, struct.Struct(f"<{TEXT_BYTES}s{TEXT_BYTES}s{TEXT_BYTES}s")),
        3: (Lost, struct.Struct(f"<I{TEXT_BYTES}s")),
        4: (Buffers, struct.Struct("<II")),
        5: (Captured, struct.Struct("<QIqQ")),
        6: (Alive, struct.Struct("")),
        7: (Runs, struct.Struct("<I")),
        8: (Want, struct.Struct("")),
    },
)


class Order(NamedTuple):
    """What a capture process is to do.

    Attributes:
        line: whose source it is.
        kind: of the source.
        settings: the fields of its settings.
        first_seq: of the first frame.
        identity: of the camera that it had before; another one is refused. Nothing: any.
    """

    line: str
    kind: str
    settings: Mapping[str, Any]
    first_seq: int
    identity: str

    def encode(self) -> bytes:
        """As it is sent."""
        return json.dumps(self._asdict()).encode()


def decode_order(packet: bytes) -> Order:
    """The order in a packet."""
    return Order(**json.loads(packet))


def field(text: str) -> bytes:
    """A text for a message, cut to what fits."""
    return text.encode("utf-8", "replace")[:TEXT_BYTES]


def _stride(width: int, height: int) -> int:
    return -(-width * height * 3 // mmap.PAGESIZE) * mmap.PAGESIZE


def _views(memory: mmap.mmap, width: int, height: int) -> list[Image]:
    stride, size = _stride(width, height), width * height * 3
    return [np.frombuffer(memory, np.uint8, size, slot * stride).reshape(height, width, 3) for slot in range(SLOTS)]


def make_memory(width: int, height: int) -> tuple[int, list[Image]]:
    """A new shared memory: its file descriptor, and the slots, each (height, width, 3) uint8.

    Nothing of it is left behind, however the processes that have it end. It can neither grow nor shrink: reading what
    was cut off would end the daemon.
    """
    fd = os.memfd_create("edgecls-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, SLOTS * _stride(width, height))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        return fd, _views(mmap.mmap(fd, 0), width, height)
    except BaseException:
        os.close(fd)
        raise


def map_memory(fd: int, width: int, height: int) -> list[Image]:
    """The slots of a shared memory that another process made, to be read alone. Takes no care of `fd`.

    Raises:
        ProtocolError: it is not what it should be.
    """
    if not (1 <= width <= _LARGEST and 1 <= height <= _LARGEST):
        raise ProtocolError(f"pictures of {width}x{height}")
    needed = SLOTS * _stride(width, height)
    try:
        if os.fstat(fd).st_size != needed or fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ProtocolError(f"a shared memory that is not for {width}x{height}")
        return _views(mmap.mmap(fd, needed, prot=mmap.PROT_READ), width, height)
    except OSError as error:
        raise ProtocolError(f"no shared memory ({error})") from error
