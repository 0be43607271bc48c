"""`edgecls check-config`: every error in a configuration at once."""

import argparse
import json
from dataclasses import asdict

from service.settings import DEFAULT_PATH, WRONG_CONFIGURATION, ConfigurationError, load_settings


def run(args: argparse.Namespace) -> int:
    """Print what is wrong, or that nothing is."""
    path = args.file or args.config or DEFAULT_PATH
    try:
        settings = load_settings(path)
    except ConfigurationError as error:
        if not args.json:
            raise
        print(json.dumps({"file": str(path), "errors": [asdict(problem) for problem in error.problems]}))
        return WRONG_CONFIGURATION
    if args.json:
        print(json.dumps({"file": str(path), "errors": []}))
    else:
        lines = ", ".join(f"{line.name} -> {line.topic}/defects" for line in settings.lines)
        print(f"{path} is fine: {lines}")
    return 0
