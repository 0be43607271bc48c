import threading

import numpy as np
import pytest

from edge.errors import BadFrameError, SourceError
from edge.frame import Frame, Image
from edge.sources.mailbox import Mailbox


def frame(seq: int, height: int = 4, into: Image | None = None) -> Frame:
    image = np.empty((height, 4, 3), np.uint8) if into is None or len(into) != height else into
    image[...] = seq % 256
    return Frame("line1", seq, image, seq)


def test_another_picture_size() -> None:
    mailbox = Mailbox()
    for height in (4, 4, 8, 8):
        mailbox.put(frame(height, height, into=mailbox.buffer()))
        taken = mailbox.take(1)
        assert taken is not None
        assert (taken.height, int(taken.image[-1, 0, 0])) == (height, height)


def test_nothing_comes() -> None:
    with pytest.raises(TimeoutError):
        Mailbox().take(0.01)


def test_an_error_comes_through_once_after_the_last_frame() -> None:
    mailbox = Mailbox()
    mailbox.put(frame(1))
    mailbox.fail(SourceError("gone"))
    assert mailbox.take(1) is not None
    with pytest.raises(SourceError, match="gone"):
        mailbox.take(1)
    mailbox.end()
    assert mailbox.take(1) is None


def test_take_wakes_up_when_a_frame_comes() -> None:
    mailbox = Mailbox()
    timer = threading.Timer(0.05, mailbox.put, [frame(7)])
    timer.start()
    taken = mailbox.take(10)
    timer.join()
    assert taken is not None
    assert taken.seq == 7


def fill(mailbox: Mailbox, count: int, bad: int = -1) -> None:
    """What a capture thread does, in a loop."""
    seq = 0
    while mailbox.room():
        if seq == count:
            mailbox.end()
            return
        if seq == bad:
            mailbox.fail(BadFrameError("torn"))
        else:
            mailbox.put(frame(seq, into=mailbox.buffer()))
        seq += 1


def test_of_a_file_nothing_is_lost_or_reordered_and_three_buffers_are_enough() -> None:
    mailbox = Mailbox()
    capture = threading.Thread(target=fill, args=(mailbox, 300, 7))
    capture.start()
    seen: list[int] = []
    addresses = set()
    for place in range(300):
        try:
            taken = mailbox.take(10)
        except BadFrameError:
            seen.append(-place)
            continue
        assert taken is not None
        assert (taken.image == taken.seq % 256).all()
        addresses.add(taken.image.ctypes.data)
        seen.append(taken.seq)
    assert mailbox.take(10) is None
    assert mailbox.take(10) is None
    capture.join()
    assert seen == [*range(7), -7, *range(8, 300)]
    assert len(addresses) <= 3


def test_a_capture_thread_that_waits_for_room_ends_when_no_frame_is_wanted() -> None:
    mailbox = Mailbox()
    capture = threading.Thread(target=fill, args=(mailbox, 300))
    capture.start()
    assert mailbox.take(10) is not None
    mailbox.close()
    capture.join(10)
    assert not capture.is_alive()
    mailbox.open()
    with pytest.raises(TimeoutError):
        mailbox.take(0)
