"""How much memory one candidate takes: a process of its own, for the peak of a process belongs to all that it did."""

import json
import logging
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from edge.backends import EngineSettings, Plan
from edge.bundle import Bundle, load_bundle
from edge.errors import EdgeError
from service.bench.frames import HD, Memory, pictures
from service.bench.measure import Contender
from service.bench.report import peak_mib

FRAMES = 10
TIMEOUT_S = 300
"""TensorRT compiles for minutes."""


def peak_of(bundle: Bundle, plan: Plan) -> float | None:
    """MiB that a process takes which loads this model so and inspects a few frames; None when that did not work."""
    command = [sys.executable, "-m", "service.bench.memory", str(bundle.path), json.dumps(asdict(plan))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)  # noqa: S603  # this very Python
        return float(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _main() -> int:
    logging.disable()
    bundle = load_bundle(Path(sys.argv[1]))
    try:
        contender = Contender(bundle, EngineSettings(**json.loads(sys.argv[2])))
    except EdgeError:
        return 1
    source = Memory(pictures(bundle, HD))
    for _ in range(FRAMES):
        contender.pipeline.inspect(source.read())
    sys.stdout.write(f"{peak_mib():.1f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
