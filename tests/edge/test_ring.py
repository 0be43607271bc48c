"""Slots in a shared memory, and what the daemon makes of a capture process that makes no sense."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from edge.clock import SystemClock
from edge.errors import SourceError
from edge.frame import Frame, Image
from edge.packets import ProtocolError
from edge.sources import CommandSettings, child
from edge.sources.capture_process import ProcessLostError
from edge.sources.child import ChildSource
from edge.sources.reader import Slots
from edge.sources.ring import (
    Alive,
    Buffers,
    Captured,
    Lost,
    Message,
    Opened,
    Opening,
    Order,
    decode_order,
    make_memory,
    map_memory,
)


class Told:
    """What slots say, and the pictures as the daemon sees them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.images: list[Image] = []

    def __call__(self, message: Message, fd: int | None = None) -> None:
        self.messages.append(message)
        if isinstance(message, Buffers):
            assert fd is not None
            self.images = map_memory(fd, message.width, message.height)

    def newest(self) -> Image:
        captured = self.messages[-1]
        assert isinstance(captured, Captured)
        return self.images[captured.slot]


def capture(slots: Slots, seq: int, height: int = 4, width: int = 6) -> None:
    image = slots.buffer()
    if image is None or image.shape != (height, width, 3):
        image = np.empty((height, width, 3), np.uint8)
    image[...] = seq
    slots.put(Frame("line1", seq, image, 1000 + seq), seq)


def test_the_newest_is_given_and_stays_until_the_next_is_wanted() -> None:
    told = Told()
    slots = Slots(told)
    for seq in range(4):
        capture(slots, seq)
    assert slots.give(0)
    assert told.messages[-1] == Captured(3, told.messages[-1].slot, 1003, 3)  # type: ignore[union-attr]  # it is a Captured
    held = told.newest()
    for seq in range(4, 40):
        capture(slots, seq)
        assert (held == 3).all()
    assert slots.give(0)
    assert (told.newest() == 39).all()
    assert not slots.give(0), "none is given twice"


def test_another_size_in_the_middle() -> None:
    told = Told()
    slots = Slots(told)
    for seq in range(3):
        capture(slots, seq)
    assert slots.give(0)
    held = told.newest()
    for seq in range(3, 9):
        capture(slots, seq, height=8 if seq % 2 else 16, width=10)
    assert slots.give(0)
    assert told.newest().shape == (16, 10, 3)
    assert (told.newest() == 8).all()
    assert (held == 2).all(), "the picture at hand stays what it is"


def test_a_frame_from_before_the_loss_is_not_given() -> None:
    told = Told()
    slots = Slots(told)
    capture(slots, 1)
    slots.clear()
    assert not slots.give(0)
    capture(slots, 2)
    assert slots.give(0)
    assert told.messages[-1].dropped == 1  # type: ignore[union-attr]  # it is a Captured


def test_the_memory_can_neither_shrink_nor_be_written_by_the_daemon() -> None:
    fd, slots = make_memory(10, 4)
    with pytest.raises(OSError, match="Operation not permitted"):
        os.ftruncate(fd, 1)
    views = map_memory(fd, 10, 4)
    os.close(fd)
    slots[2][...] = 7
    assert (views[2] == 7).all()
    with pytest.raises(ValueError, match="read-only"):
        views[0][0] = 1


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0), (70_000, 4), (1000, 1000)])
def test_memory_that_is_not_what_was_said_is_refused(width: int, height: int) -> None:
    fd, _ = make_memory(10, 4)
    with pytest.raises(ProtocolError):
        map_memory(fd, width, height)
    plain = os.memfd_create("plain")
    os.ftruncate(plain, os.fstat(fd).st_size)
    with pytest.raises(ProtocolError):
        map_memory(plain, 10, 4)
    for one in (fd, plain):
        os.close(one)


def test_an_order_arrives_as_it_was() -> None:
    order = Order("line1", "command", {"command": "a 'b c' ü"}, 7, "id")
    assert decode_order(order.encode()) == order


class Senseless:
    """In place of a capture process: says what it is told to, then is gone."""

    pid = 1

    def __init__(self, script: list[tuple[Message, int | None]]) -> None:
        self.script = script
        self.ended = False

    def want(self) -> None:
        """Whatever."""

    def next(self, _timeout_s: float) -> tuple[Message, int | None] | None:
        if not self.script:
            raise self.lost("has ended")
        return self.script.pop(0)

    def said(self) -> str:
        return ""

    def lost(self, what: str) -> ProcessLostError:
        self.ended = True
        return ProcessLostError(what)

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def memory() -> Iterator[int]:
    fd, _ = make_memory(10, 4)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([Captured(0, 0, 1, 0)], "made no sense"),
        ([Buffers(10, 4), Captured(0, 3, 1, 0)], "made no sense"),
        ([Buffers(2000, 4)], "a shared memory that is not for 2000x4"),
        ([Buffers(0, 4)], "pictures of 0x4"),
        ([Opening(1), Opened(b"", b"", b""), Alive()], "has ended"),
        ([Lost(0, b"unplugged \xff")], "unplugged"),
    ],
)
def test_a_process_that_makes_no_sense_is_replaced(
    monkeypatch: pytest.MonkeyPatch, memory: int, messages: list[Message], why: str
) -> None:
    made: list[Senseless] = []

    def make(*_: object) -> Senseless:
        script = [(message, os.dup(memory) if isinstance(message, Buffers) else None) for message in messages]
        made.append(Senseless(script))
        return made[-1]

    monkeypatch.setattr(child, "CaptureProcess", make)
    source = ChildSource("line1", CommandSettings("x", 10, 4), SystemClock())
    source.open()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a name is enough
    told = []
    for _ in range(2):
        with pytest.raises((SourceError, TimeoutError)) as caught:
            source.read()
        told.append(str(caught.value))
    source.close()
    assert why in "".join(told)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # names alone
    assert made[0].ended
