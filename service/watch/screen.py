"""The live screen, drawn with rich. Everything from a payload has been made safe by `reading.clean`."""

import time
from collections.abc import Iterable

from rich import box
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from service.watch.client import Heard
from service.watch.model import Model
from service.watch.outputs import clock
from service.watch.records import Event, Line

VERDICTS = {"pass": "green", "reject": "bold red", "review": "yellow"}
STATES = {"inspecting": "green", "waiting": "cyan", "blind": "bold yellow", "unknown": "yellow"}
ALARM = "bold red"
KINDS = {"gap": ALARM, "broker": "cyan", "repeat": "dim"}
CALM = ("inspecting", "waiting")
KNOWN = (*CALM, "blind", "fault")
WIDE = 96
"""Columns from which the long names of the figures fit."""
FIGURES = (
    ("line", "line"),
    ("/min", "/min"),
    ("pass", "pass"),
    ("reject", "rej"),
    ("review", "rev"),
    ("fps", "fps"),
    ("p50", "p50"),
    ("p95", "p95"),
    ("p99 ms", "p99"),
    ("dropped", "drop"),
    ("queue", "queue"),
    ("°C", "°C"),
    ("evicted", "evic"),
    ("missing", "miss"),
    ("twice", "2x"),
)
REFRESH_S = 0.25
DAY_S = 86_400


class Screen:
    """The whole terminal while it is open; what was there before comes back when it is closed."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._connected = False
        self._drawn = 0.0
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._live.start()

    def heard(self, heard: Heard) -> None: ...

    def happened(self, events: list[Event], *, connected: bool) -> None:
        del events  # the model keeps them
        self._connected = connected

    def refresh(self, model: Model, now: float) -> None:
        if time.monotonic() - self._drawn >= REFRESH_S:
            size = self._console.size
            self._live.update(render(model, now, self._title, size, connected=self._connected), refresh=True)
            self._drawn = time.monotonic()

    def close(self) -> None:
        self._live.stop()


def open_screen(title: str) -> Screen | None:
    """A screen on stdout; None when that is a terminal that cannot move its cursor."""
    console = Console()
    return None if console.is_dumb_terminal else Screen(console, title)


def render(model: Model, now: float, title: str, size: ConsoleDimensions, *, connected: bool) -> RenderableType:
    """The picture for a terminal of this size: head, lines, their figures, decisions, notices."""
    notices = 3 if size.height < 28 else 4
    # Head, four frames, three headings; at least three decisions.
    room = size.height - 1 - 8 - 3 - notices
    shown = _most_urgent(model, now, max(1, (room - 3) // 2))
    hidden = len(model.lines) - len(shown)
    name = "Lines" + (f" ({hidden} more do not fit)" if hidden else "")
    ignored = f"{model.ignored} ignored, last {model.last_ignored}" if model.ignored else ""
    return Group(
        _head(now, title, connected),
        _panel(name, _lines(model, shown, now)),
        _panel("Figures", _figures(model, shown, now, narrow=size.width < WIDE)),
        _panel("Last decisions", _decisions(model, now, max(1, room - 2 * len(shown)))),
        _panel("What happened", _notices(model, notices), ignored),
    )


def _most_urgent(model: Model, now: float, limit: int) -> list[Line]:
    lines = list(model.lines.values())
    if len(lines) > limit:
        lines.sort(key=lambda line: model.condition(line, now).word in CALM)  # stable: else as they came
    return lines[:limit]


def _head(now: float, title: str, connected: bool) -> Table:
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    head.add_column(justify="right", no_wrap=True)
    mark = Text("● ", "green") if connected else Text("● not connected  ", ALARM)
    head.add_row(Text.assemble((" edgecls watch ", "bold reverse"), f" {title} "), mark + Text(clock(now)))
    return head


def _panel(title: str, content: RenderableType, foot: str = "") -> Panel:
    return Panel(
        content,
        title=title,
        title_align="left",
        subtitle=Text(foot) if foot else None,  # as Text: what stands in brackets is no markup
        subtitle_align="left",
        box=box.ROUNDED,
        border_style="dim",
        padding=(0, 1),
    )


def _table(*columns: str, right: Iterable[str] = (), wide: str = "", gap: int = 2) -> Table:
    table = Table(box=None, expand=True, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold dim")
    for name in columns:
        table.add_column(
            name,
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if name in right else "left",
            ratio=1 if name == wide else None,
        )
    return table


def _lines(model: Model, lines: list[Line], now: float) -> Table:
    table = _table("line", "state", "since", "heard", "reason", right=("heard",), wide="reason")
    for line in lines:
        condition = model.condition(line, now)
        style = STATES.get(condition.word, ALARM)
        age = line.age_s(now)
        table.add_row(
            Text(line.name),
            Text(condition.word, style),
            _when(condition.since, now),
            "-" if age is None else Text(f"{_duration(age)} ago", ALARM if age > line.ttl_s else ""),
            Text(condition.reason, style if condition.word in ("fault", "STALE", "offline") else ""),
        )
    return table


def _figures(model: Model, lines: list[Line], now: float, *, narrow: bool) -> Table:
    evicted = any(line.evicted is not None for line in lines)
    names = [short if narrow else name for name, short in FIGURES if name != "evicted" or evicted]
    table = _table(*names, right=names[1:], gap=1)  # what is left of the width is spread over all
    for line in lines:
        shares = (line.share(verdict) for verdict in VERDICTS)
        table.add_row(
            Text(line.name),
            f"{line.per_minute(now, model.started):.0f}",
            *("-" if share is None else f"{share:.0%}" for share in shares),
            *(_figure(line, key, 1) for key in ("fps", "p50", "p95", "p99")),
            *(_figure(line, key, 0) for key in ("dropped", "queue", "temperature_c")),
            *([Text(str(line.evicted or 0), ALARM if line.evicted else "")] if evicted else []),
            Text(str(line.missing), ALARM if line.missing else ""),
            Text(str(line.repeats)),
            style="" if model.condition(line, now).word in KNOWN else "dim",
        )
    return table


def _figure(line: Line, key: str, digits: int) -> str:
    value = line.health.get(key)
    return "-" if value is None else f"{value:.{digits}f}"


def _decisions(model: Model, now: float, rows: int) -> Table:
    table = _table("time", "line", "part", "verdict", "label", "score", "", right=("part", "score"), wide="")
    for decided in list(model.decisions)[: -rows - 1 : -1]:
        late = "late" if decided.late else ""
        table.add_row(
            _when(decided.at, now),
            Text(decided.line),
            "-" if decided.part is None else str(decided.part),
            Text(decided.verdict or "-", VERDICTS.get(decided.verdict, "")),
            Text(decided.label or "-"),
            "-" if decided.score is None else f"{decided.score:.2f}",
            Text(", ".join(part for part in (late, decided.note) if part), "yellow" if late else "dim"),
        )
    for _ in range(rows - table.row_count):
        table.add_row()
    return table


def _notices(model: Model, rows: int) -> Table:
    table = Table.grid(expand=True, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for event in list(model.notices)[: -rows - 1 : -1]:
        where = f"{event.line}: " if event.line else ""
        table.add_row(Text(clock(event.at), "dim"), Text(f"{where}{event.text}", KINDS.get(event.kind, "")))
    for _ in range(rows - table.row_count):
        table.add_row()
    return table


def _when(at: float | None, now: float) -> str:
    """The time of day; of another day the date and time."""
    if at is None or abs(now - at) < DAY_S / 2:
        return clock(at)
    return clock(at, date=True)[5:-3]


def _duration(seconds: float) -> str:
    for size, unit in ((DAY_S, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
