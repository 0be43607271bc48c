"""The process that has the NCS2: `python -m edge.ncs2.worker SOCKET MEMORY LIBRARY MODEL DEVICE`.

SOCKET and MEMORY are inherited file descriptors. It starts fast and stays small, since it imports the standard library
alone. It ends when the daemon does, however that ends and whatever OpenVINO is doing.
"""

import contextlib
import ctypes
import mmap
import os
import select
import signal
import socket
import sys
import threading
import time

from edge.ncs2.openvino_c import Model, OpenVino, OpenVinoError
from edge.ncs2.protocol import (
    SCORES_BYTES,
    Done,
    Failed,
    Hello,
    Reason,
    Run,
    receive,
    send,
)
from edge.packets import ProtocolError

_GRACE_S = 2.0
"""What an inference and giving the stick back may take when the daemon is gone."""


def _end_with_the_daemon(channel: socket.socket) -> None:
    # Linux can kill a child with its parent (PR_SET_PDEATHSIG), but means the thread that started it: one line's.
    watch = select.poll()
    watch.register(channel, select.POLLRDHUP)
    watch.poll()
    time.sleep(_GRACE_S)
    os._exit(1)


def serve(channel: socket.socket, memory: mmap.mmap, library: str, path: str, device: str) -> None:
    """Load the model, then run it as often as is asked, until the connection ends.

    Raises:
        OpenVinoError: it cannot be loaded, or failed while running.
        ProtocolError: what the daemon says is no `Run`.
    """
    openvino = OpenVino(library)
    scores = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    model = Model(openvino, path, device, scores + SCORES_BYTES, len(memory) - SCORES_BYTES)
    if len(model.shape) != 4 or model.labels * 4 > SCORES_BYTES:
        raise OpenVinoError(Reason.MODEL, f"its input is {model.shape}, and it gives {model.labels} scores")
    model.run(scores)  # the first run is slow, and tells whether the output is what it should be
    send(channel, Hello(*model.shape, model.labels, openvino.version.encode()[:64]))
    while (message := receive(channel)) is not None:
        if not isinstance(message, Run):
            raise ProtocolError(f"{type(message).__name__} came instead of Run")
        started = time.perf_counter_ns()
        model.run(scores)
        send(channel, Done(message.number, (time.perf_counter_ns() - started) // 1000))
    model.close()


def main(arguments: list[str]) -> int:
    """The exit status."""
    # Signals for the whole group (Ctrl-C, systemd's stop) are for the daemon: its lines finish the frame at hand.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    socket_fd, memory_fd, library, path, device = arguments
    channel = socket.socket(fileno=int(socket_fd))
    threading.Thread(target=_end_with_the_daemon, args=(channel,), name="watch", daemon=True).start()
    try:
        serve(channel, mmap.mmap(int(memory_fd), 0), library, path, device)
    except OpenVinoError as error:
        with contextlib.suppress(OSError):  # the daemon is gone
            send(channel, Failed(error.reason, str(error).encode()[:1024]))
    except (ProtocolError, OSError) as error:
        print(f"the NCS2 worker ends: {error}", file=sys.stderr)  # noqa: T201  # the daemon logs it
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
