"""The bench on a terminal: tables, and a progress bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.bench.report import LOADS, STAGES, Candidate, Load, Report, where

NOT_A_TERMINAL = 132
"""Columns, for pipes and files."""


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr while something is measured, on a terminal only; call what it gives after each step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def show(report: Report) -> None:
    """Everything, on stdout."""
    console = Console() if sys.stdout.isatty() else Console(width=NOT_A_TERMINAL)
    if report.candidates:
        console.print(_speeds(report))
        console.print(_stages(report))
    for sentence in report.sentences:
        console.print(Text(sentence))
    console.print()
    for line in footer(report):
        console.print(Text(line), style="dim")


def footer(report: Report) -> list[str]:
    """Where, with what, when, and how it is meant."""
    machine = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    instructions = ", ".join(machine.instructions) or "unknown instructions"
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    return [
        f"{machine.processor}, {cores} ({instructions}); {machine.system}; Python {machine.python}",
        f"{versions}; {report.made_at}",
        f"Measured in turn, {report.seconds:g} s each in {_rounds(report)} rounds; fps are medians of the rounds.",
        f"Video: {report.video}. Idle threads wait without spinning unless the configuration says otherwise.",
        f"Memory: the peak of a process of its own for each; the bench took {report.peak_mib:.0f} MiB with all loaded.",
    ]


def load_name(load: Load, report: Report) -> str:
    """For people."""
    names: dict[Load, str] = {
        "engine": "engine alone",
        "model_size": f"pipeline, {report.width}x{report.height} in memory",
        "hd": "pipeline, 1280x720 in memory",
        "video": "pipeline, video",
    }
    return names[load]


def _speeds(report: Report) -> Table:
    size = f"{report.width}x{report.height}"
    table = _table(f"{report.model} {report.version}: frames per second")
    for name in ("alone", f"memory\n{size}", "over\nalone", "memory\n1280x720", "over\nalone", "video", "memory\nMiB"):
        table.add_column(name, justify="right")
    for candidate in report.candidates:
        cells = []
        for load in LOADS:
            result = candidate.results.get(load)
            cells.append(f"{result.fps:.1f}" if result else "-")
            if load in ("model_size", "hd"):
                cells.append(f"{result.overhead_percent:+.1f} %" if result else "-")
        cells.append(f"{candidate.peak_mib:.0f}" if candidate.peak_mib else "-")
        table.add_row(_short(candidate), *cells)
    return table


def _stages(report: Report) -> Table:
    table = _table("Where the time goes: p50, p95, p99 of a frame in ms")
    table.add_column("frames from")
    for name in STAGES:
        table.add_column(f"{name}\np50  p95  p99", justify="right")
    for name in ("CPU\nms", "over\nµs"):
        table.add_column(name, justify="right")
    for candidate in report.candidates:
        name = _short(candidate)
        for load, result in sorted(candidate.results.items(), key=lambda item: LOADS.index(item[0])):
            spreads = [result.stages.get(stage) for stage in STAGES]
            cells = [" ".join(map(_ms, (one.p50, one.p95, one.p99))) if one else "" for one in spreads]
            over = "" if result.overhead_us is None else f"{result.overhead_us:+.0f}"
            table.add_row(name, _from(load, report), *cells, f"{result.cpu_ms:.2f}", over)
            name = ""
        table.add_section()
    return table


def _table(title: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("backend, precision,\nthreads", no_wrap=True)
    return table


def _short(candidate: Candidate) -> str:
    plan = candidate.plan
    return f"{plan.backend} {plan.precision} {plan.threads if plan.device == 'cpu' else where(plan)}"


def _from(load: Load, report: Report) -> str:
    names: dict[Load, str] = {"engine": "(alone)", "model_size": f"{report.width}x{report.height}", "hd": "1280x720"}
    return names.get(load, "video")


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _rounds(report: Report) -> int:
    return max((len(one.results["engine"].rounds) for one in report.candidates), default=0)
