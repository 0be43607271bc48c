"""A capture process whose source fails in a way that nobody foresaw: it says so and tries again."""

import socket
import subprocess
import sys

from conftest import ROOT

from edge.packets import text_of
from edge.sources.ring import PACKETS, Lost, Message, Opening

READER = """
import socket, sys
from edge.sources.opened import About
from edge.sources.reader import Reader

class Unforeseen:
    open_limit_s, group = 1.0, 0
    def open(self):
        return About("anything")
    def read(self, into=None):
        raise ValueError("what nobody foresaw")
    def close(self):
        pass

Reader(socket.socket(fileno=int(sys.argv[1])), Unforeseen(), 0).run()
"""


def test_it_says_so_and_tries_again() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", READER, str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        told: list[Message] = []
        while sum(isinstance(message, Opening) for message in told) < 3:
            told.append(PACKETS.decode(ours.recv(PACKETS.longest)))
    _, printed = process.communicate(timeout=20)
    lost = [message for message in told if isinstance(message, Lost)]
    assert {(message.for_good, text_of(message.why)) for message in lost} == {
        (0, "the source failed (what nobody foresaw): see the log")
    }
    assert "ValueError: what nobody foresaw" in printed
    assert process.returncode == 0
