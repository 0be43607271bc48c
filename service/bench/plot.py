"""A picture of a report. The only file that imports matplotlib, which devices do not have."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from edge.errors import PermanentError
from service.bench.report import LOADS, Candidate, Load, Report
from service.bench.screen import footer, load_name

COLOURS: dict[Load, str] = {"engine": "#4c566a", "model_size": "#2a9d8f", "hd": "#e9a03b", "video": "#c8553d"}
DPI = 110


def draw(report: Report, path: Path) -> None:
    """Bars of frames per second, and the latencies of a frame beside them: p50 as a dot, up to p99 as a line.

    Raises:
        PermanentError: there is nothing to draw, or the file cannot be written.
    """
    if not report.candidates:
        raise PermanentError("there is nothing to draw: no engine could be measured")
    loads = [load for load in LOADS if any(load in one.results for one in report.candidates)]
    figure = Figure(figsize=(14, 1.9 + 0.2 * (len(loads) + 1) * len(report.candidates)), layout="constrained")
    speeds, latencies = figure.subplots(1, 2, sharey=True)
    figure.suptitle(
        f"edgecls bench: {report.model} {report.version} on {report.machine.processor}, {report.machine.cores} cores",
        fontsize=14,
    )
    step = 1 / (len(loads) + 1)
    for number, load in enumerate(loads):
        present = [(row, one) for row, one in enumerate(report.candidates) if load in one.results]
        places = [row + number * step for row, _ in present]
        results = [one.results[load] for _, one in present]
        label, colour = load_name(load, report), COLOURS[load]
        bars = speeds.barh(places, [one.fps for one in results], step * 0.9, color=colour, label=label)
        speeds.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        spreads = [_whole(one, load) for _, one in present]
        p50 = [p50 for p50, _ in spreads]
        beyond = [p99 - p50 for p50, p99 in spreads]
        latencies.errorbar(
            p50, places, xerr=[[0.0] * len(p50), beyond], fmt="o", color=colour, capsize=3, markersize=5, label=label
        )
    middle = (len(loads) - 1) * step / 2
    speeds.set_yticks([row + middle for row in range(len(report.candidates))], [one.name for one in report.candidates])
    speeds.invert_yaxis()
    speeds.margins(x=0.12, y=0.01)
    speeds.set_xlabel("frames per second (median of rounds)")
    speeds.set_title("Speed: longer is better")
    latencies.set_xscale("log")
    latencies.xaxis.set_major_formatter(FuncFormatter(_plain))
    latencies.xaxis.set_minor_formatter(FuncFormatter(_plain))
    latencies.tick_params(axis="x", which="both", labelsize=8)
    latencies.set_xlabel("milliseconds per frame, logarithmic (dot: p50, line: up to p99)")
    latencies.set_title("Latency: shorter is better")
    for axes in (speeds, latencies):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    speeds.legend(loc="lower right")  # the bars there are the shortest
    figure.supxlabel("\n".join(footer(report)[:2]), fontsize=8, color="#666666")
    try:
        figure.savefig(path, dpi=DPI, format="png")
    except OSError as error:
        raise PermanentError(f"{path} cannot be written ({error.strerror}): choose another place") from error


def _whole(candidate: Candidate, load: Load) -> tuple[float, float]:
    """p50 and p99 of a frame, everything included."""
    stages = candidate.results[load].stages
    spread = stages.get("total") or stages["infer"]
    return spread.p50, spread.p99


def _plain(ms: float, _place: int) -> str:
    """A tick: 1, 2 and 5 of each decade."""
    return f"{ms:g}" if f"{ms:e}"[0] in "125" else ""
