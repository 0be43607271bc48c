"""`edgecls bench`: what engines and pipelines do on this device."""

import argparse
import logging
import os
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from edge.backends import EngineSettings
from edge.bundle import Bundle, load_bundle
from edge.clock import SystemClock
from edge.sources import Source, VideoSettings, make_source
from service.bench import frames
from service.bench.candidates import candidates
from service.bench.measure import ROUNDS, candidate, load_all, race
from service.bench.memory import peak_of
from service.bench.report import Load, Report, as_json, now, peak_mib, read_report, this_machine
from service.bench.verdict import sentences
from service.line_settings import engine_settings
from service.settings import load_settings

WRONG_USAGE = 2
"""As argparse."""
FAILED = 1
SECONDS = 2.0


def run(args: argparse.Namespace) -> int:
    """Measure, or read what was measured, and show it; 1 when no engine works."""
    wrong = _wrong_usage(args)
    if wrong:
        print(f"edgecls bench: {wrong}", file=sys.stderr)
        return WRONG_USAGE
    wrong = _not_drawable(args.plot) if args.plot else ""
    if wrong:
        print(f"edgecls bench: {wrong}", file=sys.stderr)
        return FAILED
    logging.getLogger("edge").setLevel(logging.WARNING)
    report = read_report(args.from_file) if args.from_file else _measured(args)
    if args.json:
        print(as_json(report))
    else:
        from service.bench.screen import show  # noqa: PLC0415  # the daemon shares the command and needs no screen

        show(report)
    if args.plot:
        from service.bench.plot import draw  # noqa: PLC0415  # matplotlib is not on every device

        draw(report, args.plot)
        print(f"edgecls bench: drawn: {args.plot}", file=sys.stderr)
    if not report.candidates:
        print("edgecls bench: no engine could be measured: see why above", file=sys.stderr)
    return 0 if report.candidates else FAILED


def _measured(args: argparse.Namespace) -> Report:
    from service.bench.screen import progress  # noqa: PLC0415  # as above

    bundle, asked = _chosen(args)
    spec = bundle.manifest.input.spec
    wanted = candidates(bundle, asked)
    seconds = args.seconds or SECONDS
    with tempfile.TemporaryDirectory(prefix="edgecls-bench-") as folder:
        sources: dict[Load, Source] = {
            "model_size": frames.Memory(frames.pictures(bundle, (spec.width, spec.height))),
            "hd": frames.Memory(frames.pictures(bundle, frames.HD)),
        }
        video, source = _video(args.video, bundle, Path(folder))
        if source is not None:
            sources["video"] = source
        with progress(len(wanted) * (2 + ROUNDS * (1 + len(sources)))) as tick:
            contenders, refused = load_all(bundle, wanted, tick)
            race(contenders, sources, seconds, ROUNDS, tick)
            peak = peak_mib()
            found = []
            for contender in contenders:
                found.append(candidate(contender, peak_of(bundle, contender.plan)))
                tick()
    found.sort(key=lambda one: -one.results["engine"].fps)
    return Report(
        model=bundle.manifest.name,
        version=bundle.manifest.version,
        width=spec.width,
        height=spec.height,
        made_at=now(),
        seconds=seconds,
        video=video,
        machine=this_machine(),
        candidates=found,
        refused=refused,
        peak_mib=peak,
        sentences=sentences(found, refused, video),
    )


def _chosen(args: argparse.Namespace) -> tuple[Bundle, EngineSettings]:
    """What the command line names; without `--model`, bundle and engine of the configuration."""
    asked = {key: value for key in ("backend", "precision", "threads") if (value := getattr(args, key)) is not None}
    if args.model:
        return load_bundle(args.model), replace(EngineSettings(), **asked)
    settings = load_settings(args.config)
    return load_bundle(settings.model_of(settings.lines[0])), replace(engine_settings(settings.engine), **asked)


def _video(given: Path | None, bundle: Bundle, folder: Path) -> tuple[str, Source | None]:
    """What it is, and the source of its frames."""
    path = given or folder / "bench.mp4"
    if given is None and not frames.write_clip(bundle, path):
        return "none: OpenCV cannot encode a clip here: give one with --video", None
    source = frames.Ahead(make_source("bench", VideoSettings(path, pace="asap", loop=True), SystemClock()))
    source.open()  # a file that cannot be read is told before anything is measured
    try:
        source.read()
    finally:
        source.close()
    return f"{frames.describe(path)}, {given.name if given else 'made by the bench'}", source


def _wrong_usage(args: argparse.Namespace) -> str:
    measuring = {"--model": args.model, "--video": args.video, "--seconds": args.seconds, "--threads": args.threads}
    both = [name for name, value in measuring.items() if value is not None and args.from_file]
    wrong = ""
    if both:
        wrong = f"--from shows what was measured before: leave out {', '.join(both)}"
    elif args.threads is not None and not 1 <= args.threads <= 1024:
        wrong = f"--threads {args.threads}: give 1 or more, at best no more than {os.cpu_count()}"
    elif args.seconds is not None and not 0 < args.seconds <= 3600:
        wrong = f"--seconds {args.seconds:g}: give more than 0 and at most 3600"
    elif args.plot and args.plot.suffix.lower() != ".png":
        wrong = f"--plot {args.plot}: give a name that ends with .png"
    return wrong


def _not_drawable(path: Path) -> str:
    """Why the picture could not be written: better known before than after measuring."""
    if find_spec("matplotlib") is None:
        return (
            "--plot needs matplotlib, which is not installed here: write --json here to a file, and draw it with "
            "`edgecls bench --from FILE --plot FILE.png` on a computer that has it (pip install 'edgecls[workshop]')"
        )
    if not path.parent.is_dir():
        return f"--plot {path}: the directory {path.parent} does not exist: make it or choose another place"
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"--plot {path} cannot be written: choose another place"
    return ""
