"""What the benchmarks share: the models, taking turns, and tables with the machine that they hold for.

The measuring itself is that of `edgecls bench` (`service/bench`).
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT)]

from conftest import Mosquitto, a_free_port  # noqa: E402  # needs the path
from delivery import deliver  # noqa: E402  # needs the path

from edge.backends import EngineSettings  # noqa: E402  # needs the path
from edge.bundle import Bundle, load_bundle  # noqa: E402  # needs the path
from service.bench import frames  # noqa: E402  # needs the path
from service.bench.measure import SETTLE_S  # noqa: E402  # needs the path
from service.bench.report import now, this_machine  # noqa: E402  # needs the path
from service.publisher import Publisher  # noqa: E402  # needs the path

SHIPPED = ("surface-demo", "magnetic-tile")
PUBLISHED = ("resnet18", "resnet50", "mobilenetv3-small")
ROUNDS = 7
SECONDS = 0.5
"""Of one turn."""
IDLE_CORES = 0.15
"""A machine on which other processes take no more than this is idle."""


@dataclass
class Table:
    """What one benchmark found. `wanted` tells what is asked of a figure, as text."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        self.rows.append(cells)

    def text(self) -> str:
        """Markdown that people can read as it is."""
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[number]) for row in cells) for number in range(len(self.columns))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
        return "\n".join([f"### {self.title}", "", *lines, *(f"\n{note}" for note in self.notes)])


def main(doc: str | None, measure: Callable[[argparse.Namespace], list[Table]], **flags: dict[str, Any]) -> None:
    """The command line that every benchmark has.

    Args:
        doc: what it is.
        measure: does it.
        flags: options of its own, as for `add_argument`.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="what `python -m models bench-bundles --out` wrote")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each candidate (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each turn (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    for name, options in flags.items():
        parser.add_argument(f"--{name}", **options)
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("--rounds and --seconds must be more than 0")
    logging.disable()
    others = busy_elsewhere()
    tables = measure(args)
    machine = this_machine()
    if args.json:
        shown = [{"title": one.title, "columns": one.columns, "rows": one.rows, "notes": one.notes} for one in tables]
        print(
            json.dumps(
                {"made_at": now(), "machine": machine.versions, "busy_elsewhere": others, "tables": shown}, default=str
            )
        )
        return
    for table in tables:
        print(table.text(), end="\n\n")
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    print(f"{machine.processor}, {machine.cores} cores ({', '.join(machine.instructions)}); {machine.system}")
    print(f"{versions}; {now()}; medians of {args.rounds} rounds of {args.seconds:g} s, in turn.")
    if others > IDLE_CORES:
        print(f"DISTURBED: other processes took {others:.2f} cores before it began; these figures say little.")


def show_figures(results: dict[str, dict[str, float]], *, as_json: bool) -> None:
    """Figures by name: a line each, or one JSON document."""
    if as_json:
        print(json.dumps(results))
        return
    width = max(map(len, results))
    for name, figures in results.items():
        print(f"{name:<{width}}  " + "  ".join(f"{key} {value}" for key, value in figures.items()))


def busy_elsewhere() -> float:
    """Cores that other processes take, in a second in which this one does nothing."""
    before = _busy_ticks()
    time.sleep(1.0)
    return (_busy_ticks() - before) / os.sysconf("SC_CLK_TCK")


def bundle(models: Path, name: str) -> Bundle:
    """A published or shipped model."""
    return load_bundle(ROOT / "models" / name if name in SHIPPED else models / name)


def asked(backend: str, precision: str, **more: Any) -> EngineSettings:
    """Settings of an engine on the CPU, every core of it for one inference."""
    return EngineSettings(backend=backend, device="cpu", precision=precision, **more)  # type: ignore[arg-type]  # Literals, from the command line


def in_turn(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Let all of them run, round after round, every second round backwards; what each call returned."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, turn in reversed(turns.items()) if number % 2 else turns.items():
            time.sleep(SETTLE_S)  # threads of the one before that spin are asleep by then
            found[name].append(turn())
    return found


def ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of each round, in which both were measured next to each other."""
    return median(one / other for one, other in zip(ones, others, strict=True))


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """The port of a mosquitto that holds everything back for nobody."""
    mosquitto = Mosquitto(a_free_port(), folder)
    mosquitto.configure("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 0")
    mosquitto.start()
    try:
        yield mosquitto.port
    finally:
        mosquitto.stop()


@contextmanager
def publisher(folder: Path, port: int) -> Iterator[Publisher]:
    """A publisher at work, with an outbox on disk; at the end everything is delivered."""
    delivery = deliver(folder / "outbox.db", port, max_bytes=256 * 1024 * 1024)
    try:
        yield delivery.publisher
    finally:
        delivery.delivered()
        delivery.publisher.stop([], 10)


def h264_clip(given: Path | None, folder: Path, model: Bundle) -> tuple[Path, str]:
    """A clip of 1280x720, and what it is: H.264 where `ffmpeg` can encode it, else what OpenCV can."""
    if given is not None:
        return given, frames.describe(given)
    plain, clip = folder / "plain.mp4", folder / "clip.mp4"
    frames.write_clip(model, plain)
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return plain, f"{frames.describe(plain)} (for H.264 install ffmpeg, or give --video)"
    command = [
        ffmpeg,
        "-v",
        "error",
        "-y",
        "-i",
        str(plain),
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-an",
        str(clip),
    ]
    subprocess.run(command, check=True)
    return clip, frames.describe(clip)


def _busy_ticks() -> int:
    user, nice, system = Path("/proc/stat").read_text(encoding="ascii").split()[1:4]
    return int(user) + int(nice) + int(system)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
