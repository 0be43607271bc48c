"""Workers that do not do what they should: `python ncs2_workers.py HOW SOCKET MEMORY LIBRARY MODEL DEVICE`."""

import socket
import struct
import sys
import time

from edge.ncs2.protocol import Done, Failed, Hello, Message, Reason, receive, send

HELLO = Hello(1, 160, 160, 3, 4, b"none")

PRINTED = {
    "ends": "cannot open shared object file",
    # What 2022.3 may say: the text of a status, and what the driver printed.
    "cannot-boot-its-stick": "E: [ncAPI] [    555452] [python3] ncDeviceOpen:1013\tFailed to find booted device",
    "chatters": "\n".join(f"line {number}" + " and so on" * 100 for number in range(200)),
}
SAID_FIRST: dict[str, Message | bytes] = {
    "speaks-http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "is-cut-short": struct.pack("<4sHHI", b"ncs2", 1, 1, 1),
    "is-newer": struct.pack("<4sHHI", b"ncs2", 2, 1, 1),
    "says-done-first": Done(1, 1),
    "fails-for-no-known-reason": Failed(99, b"?"),
    "has-another-shape": HELLO._replace(shape_1=80),
    "has-too-many-labels": HELLO._replace(labels=2**31),
    "has-no-stick": Failed(Reason.MODEL, b"Can not init Myriad device: NC_ERROR"),
    "cannot-boot-its-stick": Failed(Reason.MODEL, b"general error"),
    "chatters": HELLO,
}
ANSWERED: dict[str, Message | bytes] = {
    "answers-another-run": Done(1000, 1),
    "answers-garbage": bytes(100),
    "fails-while-running": Failed(Reason.RUNNING, b"X_LINK_ERROR"),
}


def say(channel: socket.socket, what: Message | bytes) -> None:
    if isinstance(what, bytes):
        channel.send(what)
    else:
        send(channel, what)


def main(how: str, fd: str) -> int:
    channel = socket.socket(fileno=int(fd))
    print(PRINTED.get(how, ""), flush=True)
    if how == "closes":
        channel.shutdown(socket.SHUT_RDWR)
    if how in ("closes", "says-nothing"):
        time.sleep(60)
    if how in SAID_FIRST:
        say(channel, SAID_FIRST[how])
    if how in ANSWERED:
        send(channel, HELLO)
        receive(channel)
        say(channel, ANSWERED[how])
    elif how == "chatters":
        receive(channel)
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
