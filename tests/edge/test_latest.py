import threading

import numpy as np
import pytest

from edge.errors import SourceError
from edge.frame import Frame
from edge.sources.latest import LatestFrame


def frame(seq: int, height: int = 4) -> Frame:
    return Frame("line1", seq, np.full((height, 4, 3), seq % 256, np.uint8), seq)


def test_the_newest_wins_and_drops_are_counted() -> None:
    mailbox = LatestFrame()
    for seq in range(5):
        mailbox.put(frame(seq))
    taken = mailbox.take(1)
    assert taken is not None
    assert (taken.seq, int(taken.image[0, 0, 0]), mailbox.dropped) == (4, 4, 4)


def test_a_frame_that_is_being_inspected_is_not_written_over() -> None:
    mailbox = LatestFrame()
    mailbox.put(frame(1))
    taken = mailbox.take(1)
    assert taken is not None
    for seq in range(2, 20):
        mailbox.put(frame(seq))
    assert (taken.image == 1).all()


def test_three_buffers_are_enough() -> None:
    mailbox = LatestFrame()
    addresses = set()
    for seq in range(50):
        mailbox.put(frame(seq))
        if seq % 3 == 0:
            taken = mailbox.take(1)
            assert taken is not None
            addresses.add(taken.image.ctypes.data)
    assert len(addresses) <= 3


def test_another_picture_size() -> None:
    mailbox = LatestFrame()
    for height in (4, 4, 8, 8):
        mailbox.put(frame(height, height))
    taken = mailbox.take(1)
    assert taken is not None
    assert taken.height == 8


def test_nothing_comes() -> None:
    with pytest.raises(TimeoutError):
        LatestFrame().take(0.01)


def test_an_error_comes_through_once_after_the_last_frame() -> None:
    mailbox = LatestFrame()
    mailbox.put(frame(1))
    mailbox.fail(SourceError("gone"))
    assert mailbox.take(1) is not None
    with pytest.raises(SourceError, match="gone"):
        mailbox.take(1)
    mailbox.end()
    assert mailbox.take(1) is None


def test_take_wakes_up_when_a_frame_comes() -> None:
    mailbox = LatestFrame()
    timer = threading.Timer(0.05, mailbox.put, [frame(7)])
    timer.start()
    taken = mailbox.take(10)
    timer.join()
    assert taken is not None
    assert taken.seq == 7
