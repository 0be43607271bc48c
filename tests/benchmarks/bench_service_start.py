"""From `systemctl start edgecls` to READY and to the first message, on a booted Debian 12: cold and warm.

Run, as root: python tests/benchmarks/bench_service_start.py [--deb FILE...] [--times N] [--json]

The packages are those of --deb, else they are built. Cold means that nothing of any file is in memory, as after a boot;
warm that the service was started just before. The source is a video file, the broker a mosquitto beside the service.
READY is systemd's own time of it, the message is timed by who receives it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT)]

from booted import Machine, booted  # noqa: E402  # needs the path
from debs import built  # noqa: E402  # needs the path
from harness import show_figures  # noqa: E402  # needs the path

CONFIGURATION = """\
model: /usr/share/edgecls/models/surface-demo
engine: {{backend: {backend}}}
lines:
  - name: line1
    topic: factory/line1
    source: {{video: /srv/clip.mp4, loop: true}}
    decide: {{per: frame}}
    publish: all
"""
SUBSCRIBED_S = 0.5
WAIT_S = 60


def start_once(machine: Machine, *, cold: bool) -> tuple[float, float]:
    """Seconds to READY and to the first message."""
    machine.run("systemctl", "stop", "edgecls")
    listen = ("mosquitto_sub", "-h", "127.0.0.1", "-t", "factory/line1/defects", "-C", "1", "-W", str(WAIT_S))
    with subprocess.Popen(machine.command(*listen, "-F", "%U"), stdout=subprocess.PIPE, text=True) as subscriber:
        time.sleep(SUBSCRIBED_S)
        if cold:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        begin, begin_monotonic = time.time(), time.monotonic()
        machine.run("systemctl", "start", "edgecls")
        received, _ = subscriber.communicate(timeout=WAIT_S)
    ready = int(machine.property("edgecls", "ActiveEnterTimestampMonotonic")) / 1e6
    return ready - begin_monotonic, float(received) - begin


def measure(packages: Sequence[Path], times: int) -> dict[str, dict[str, float]]:
    figures = {}
    files = [(ROOT / "models/demo/conveyor.mp4", "/srv/clip.mp4"), *((p, f"/root/{p.name}") for p in packages)]
    with (
        tempfile.TemporaryDirectory(prefix="bench-service-start-") as name,
        booted("bookworm", Path(name), files) as on,
    ):
        on.run("sh", "-c", "apt-get install -y --no-install-recommends /root/*.deb mosquitto mosquitto-clients")
        for backend in ("onnxruntime", "openvino"):
            (on.root / "etc/edgecls.yaml").write_text(CONFIGURATION.format(backend=backend))
            start_once(on, cold=False)  # the second start with OpenVINO finds its compiled model
            for heat in ("warm", "cold"):
                ready, message = zip(*(start_once(on, cold=heat == "cold") for _ in range(times)), strict=True)
                figures[f"{backend} {heat}"] = {
                    "ready_s": round(median(ready), 2),
                    "first_message_s": round(median(message), 2),
                }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deb", type=Path, nargs="+", metavar="FILE", help="the packages (default: build them)")
    parser.add_argument("--times", type=int, default=5, help="starts of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    show_figures(measure(options.deb or built("bookworm"), options.times), as_json=options.json)


if __name__ == "__main__":
    main()
