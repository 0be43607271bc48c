"""What the daemon and the worker of the NCS2 say to each other, and where the tensors lie.

One message is one packet of a `SOCK_SEQPACKET` pair: it arrives whole or not at all, so a length that is not the
expected one is a mistake and never half a message. The worker says `Hello` when the model is loaded, then answers each
`Run` with `Done`; or it says `Failed` once, and ends. The end of the connection ends the worker.

The tensors are in one shared memory: scores first (float32, `SCORES_BYTES` are kept for them), then what the
model takes.
The daemon writes the input before `Run` and reads the scores after `Done`.
"""

import socket
import struct
from enum import IntEnum
from typing import NamedTuple, TypeAlias

MAGIC = b"ncs2"
VERSION = 1
SCORES_BYTES = 65536
"""A whole number of pages on every kernel, so that the input behind it is aligned."""

_HEADER = struct.Struct("<4sHH")


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
_KINDS: dict[int, tuple[type[Hello | Run | Done | Failed], struct.Struct]] = {
    1: (Hello, struct.Struct("<5I64s")),
    2: (Run, struct.Struct("<I")),
    3: (Done, struct.Struct("<II")),
    4: (Failed, struct.Struct("<I1024s")),
}
_NUMBERS = {kind: number for number, (kind, _) in _KINDS.items()}
_LONGEST = _HEADER.size + max(layout.size for _, layout in _KINDS.values())


class ProtocolError(Exception):
    """What came is no message of this protocol."""


def send(channel: socket.socket, message: Message) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone.
    """
    number = _NUMBERS[type(message)]
    channel.send(_HEADER.pack(MAGIC, VERSION, number) + _KINDS[number][1].pack(*message))


def receive(channel: socket.socket) -> Message | None:
    """The next message, or nothing when the other side has closed the connection. Waits as the channel's time-out says.

    Raises:
        ProtocolError: it is no message.
        TimeoutError: nothing came in time.
        OSError: the connection broke.
    """
    packet = channel.recv(_LONGEST + 1)
    if not packet:
        return None
    if len(packet) < _HEADER.size:
        raise ProtocolError(f"{len(packet)} bytes are no message")
    magic, version, number = _HEADER.unpack_from(packet)
    if magic != MAGIC:
        raise ProtocolError(f"a message begins with {magic!r}")
    if version != VERSION:
        raise ProtocolError(f"a message of version {version}, not {VERSION}")
    if number not in _KINDS:
        raise ProtocolError(f"a message of an unknown kind, {number}")
    kind, layout = _KINDS[number]
    if len(packet) != _HEADER.size + layout.size:
        raise ProtocolError(f"{kind.__name__} has {_HEADER.size + layout.size} bytes, not {len(packet)}")
    return kind(*layout.unpack_from(packet, _HEADER.size))


def text_of(field: bytes) -> str:
    """A text field without its padding."""
    return field.rstrip(b"\0").decode("utf-8", "replace")
