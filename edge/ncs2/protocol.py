"""What the daemon and the worker of the NCS2 say to each other, and where the tensors lie.

The packets are those of `edge.packets`. The worker says `Hello` when the model is loaded, then answers each
`Run` with `Done`; or it says `Failed` once, and ends. The end of the connection ends the worker.

The tensors are in one shared memory: scores first (float32, `SCORES_BYTES` are kept for them), then what the
model takes.
The daemon writes the input before `Run` and reads the scores after `Done`.
"""

import socket
import struct
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from edge.packets import Packets

SCORES_BYTES = 65536
"""A whole number of pages on every kernel, so that the input behind it is aligned."""


class Reason(IntEnum):
    """Why a worker failed. The daemon makes the sentence of it."""

    LIBRARY = 1
    """The library cannot be loaded."""
    TOO_OLD = 2
    """The library lacks a function; the text is its name."""
    NO_PLUGIN = 3
    """OpenVINO does not know the device, or its plug-in cannot be loaded."""
    NO_DEVICE = 4
    """The plug-in found no device, or cannot open it."""
    MODEL = 5
    """The model cannot be read, compiled or fed."""
    RUNNING = 6
    """An inference failed."""


class Hello(NamedTuple):
    """The model is loaded: the four numbers of its input's shape, how many scores it gives, and OpenVINO's version."""

    shape_0: int
    shape_1: int
    shape_2: int
    shape_3: int
    labels: int
    openvino: bytes


class Run(NamedTuple):
    """Run the model once."""

    number: int


class Done(NamedTuple):
    """The scores of `Run(number)` are in the memory."""

    number: int
    microseconds: int


class Failed(NamedTuple):
    """The worker is about to end. `text` is what OpenVINO says, in UTF-8, cut to 1 KiB, or nothing."""

    reason: int
    text: bytes


Message: TypeAlias = Hello | Run | Done | Failed

_PACKETS = Packets(
    b"ncs2",
    1,
    {
        1: (Hello, struct.Struct("<5I64s")),
        2: (Run, struct.Struct("<I")),
        3: (Done, struct.Struct("<II")),
        4: (Failed, struct.Struct("<I1024s")),
    },
)


def send(channel: socket.socket, message: Message) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone.
    """
    _PACKETS.send(channel, message)


def receive(channel: socket.socket) -> Message | None:
    """The next message, or nothing when the other side has closed the connection. Waits as the channel's time-out says.

    Raises:
        ProtocolError: it is no message.
        TimeoutError: nothing came in time.
        OSError: the connection broke.
    """
    message: Message | None = _PACKETS.receive(channel)
    return message
