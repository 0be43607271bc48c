"""`python -m service.doctor.runtime NAME`: what an installed runtime can do, as JSON.

It is asked in a process of its own: a runtime that is built for another processor ends its process.
"""

import importlib
import json
import logging
import sys


def describe(name: str) -> dict[str, object]:
    """Version and devices of a backend's runtime; `missing` with the reason when it cannot be loaded."""
    try:
        backend = importlib.import_module(f"edge.backends.{name}")
    except ImportError as reason:
        return {"missing": str(reason)}
    return {"version": backend.version, "devices": list(backend.devices())}


if __name__ == "__main__":
    logging.disable()
    sys.stdout.write(json.dumps(describe(sys.argv[1])))
