"""`edgecls run`: the daemon, in the foreground."""

import argparse
import ctypes
import faulthandler
import logging
import os
import sys
from contextlib import suppress

from edge.clock import SystemClock
from edge.errors import EdgeError
from service import log
from service.daemon import Daemon
from service.orders import orders_by_signal
from service.settings import ConfigurationError, load_settings
from service.status import does_not_start
from service.systemd import Systemd

GIVES_WAY_S = 0.0005
"""After so long a thread at work in Python gives way to one that waits, such as one whose inference is done."""
M_MMAP_THRESHOLD = -3
"""Of mallopt(3)."""
LARGE_BYTES = 1024 * 1024
"""Blocks from this size on go back to the system when they are let go, as those with which a model is loaded. By itself
glibc keeps them once it has seen one come and go."""


def run(args: argparse.Namespace) -> int:
    """Inspect until told to stop or until every source has ended."""
    clock = SystemClock()
    orders = orders_by_signal(clock)  # first, so that a signal while the engines are loaded ends it cleanly, too
    if sys.stderr is not None:
        faulthandler.enable()  # SIGABRT, with which systemd's watchdog kills it: where each thread hangs
    log.begin(args.log)
    sys.setswitchinterval(GIVES_WAY_S)
    with suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    try:
        daemon = Daemon(load_settings(args.config), orders, clock, read=lambda: load_settings(args.config))
        status = daemon.run()
    except (ConfigurationError, EdgeError) as error:
        Systemd(clock).status(does_not_start(error))
        raise
    if daemon.hangs:
        logging.shutdown()
        os._exit(status)  # the ordinary way out waits for every thread, for ever
    return status
