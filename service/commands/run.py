"""`edgecls run`: the daemon, in the foreground."""

import argparse

from service.daemon import Daemon, stop_on_signals
from service.settings import load_settings


def run(args: argparse.Namespace) -> int:
    """Inspect until told to stop or until every source has ended."""
    stop = stop_on_signals()  # first, so that a signal while the engines are loaded ends it cleanly, too
    return Daemon(load_settings(args.config), stop).run()
