"""`edgecls tune`: the quickest way to run a model on this device, measured and kept."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from edge.backends import EngineSettings, Plan, usable_cache
from edge.backends.choose import choose
from edge.backends.plan import Hint
from edge.bundle import Bundle, load_bundle
from edge.errors import PermanentError
from service.line_settings import engine_settings
from service.sections import EngineSection
from service.settings import DEFAULT_PATH, load_settings
from service.tuning.candidates import candidates
from service.tuning.file import check_writable, keep
from service.tuning.measure import measure_in_a_process
from service.tuning.race import GOALS, Race, race
from service.tuning.report import Outcome

WRONG_USAGE = 2
"""As argparse."""
INTERRUPTED = 130
"""As a shell says it of a program that Ctrl-C has ended."""


def run(args: argparse.Namespace) -> int:
    """Race, tell, keep."""
    wrong = _wrong_usage(args)
    if wrong:
        print(f"edgecls tune: {wrong}", file=sys.stderr)
        return WRONG_USAGE
    for number in (signal.SIGINT, signal.SIGTERM):  # the first may be ignored by who started it
        signal.signal(number, signal.default_int_handler)
    bundle, settings = _chosen(args)
    output: Path = args.output or settings.tuning or Path(EngineSection().tuning)
    check_writable(output)
    there = len(os.sched_getaffinity(0))
    cores = min(args.max_cores or there, there)
    try:
        with tempfile.TemporaryDirectory(prefix="edgecls-tune-") as folder:
            # What is compiled once is loaded again by every process after the first.
            cached = replace(settings, cache_dir=usable_cache(settings.cache_dir) or Path(folder))
            outcome = _race(args, bundle, cached, cores)
    except KeyboardInterrupt:
        print(f"edgecls tune: interrupted, {output} is as it was", file=sys.stderr)
        return INTERRUPTED
    if outcome.pick(outcome.goal) is None:
        print(outcome.text(), file=sys.stderr)
        raise PermanentError(f"no way to run {bundle.path} works on this device: see the reasons above")
    entry = outcome.entry()
    keep(output, bundle, entry)
    print(json.dumps({"output": str(output), **entry}, ensure_ascii=False) if args.json else outcome.text())
    print(f"edgecls tune: written to {output}; engines with `auto` go by it from their next start", file=sys.stderr)
    return 0


def _race(args: argparse.Namespace, bundle: Bundle, settings: EngineSettings, cores: int) -> Outcome:
    from service.progress import TimeBar  # noqa: PLC0415  # the daemon shares the command and draws nothing

    plans = candidates(bundle, settings, cores)
    rule = {goal: _rule(bundle, settings, goal, cores) for goal in GOALS}
    plans += [plan for plan in dict.fromkeys(rule.values()) if plan not in plans]
    at, begin = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
    with TimeBar(args.seconds) as bar:
        state: Race = race(
            plans,
            lambda plan, seconds: measure_in_a_process(bundle.path, plan, settings, seconds),
            seconds=args.seconds,
            clock=time.monotonic,
            tell=bar.tell,
            yardsticks=tuple(rule.values()),
            grid=args.grid,
        )
    asked = {
        "for": args.goal,
        "max_cores": cores,
        "seconds": args.seconds,
        "grid": args.grid,
        "version": version("edgecls"),
    }
    return Outcome(bundle, args.goal, state, rule, asked, at, time.monotonic() - begin)


def _rule(bundle: Bundle, settings: EngineSettings, goal: Hint, cores: int) -> Plan:
    """What `auto` would do without a measurement."""
    asked = replace(settings, tuning=None, hint=goal)
    plan, _ = choose(bundle, asked, lines=1 if goal == "latency" else cores, cores=cores)
    return replace(plan, hint="throughput" if plan.streams > 1 else "latency")


def _chosen(args: argparse.Namespace) -> tuple[Bundle, EngineSettings]:
    """The bundle, and what of the engine is fixed: by the configuration, which `--model` alone does without."""
    if args.model and not args.config:
        return load_bundle(args.model), engine_settings(EngineSection())
    settings = load_settings(args.config or DEFAULT_PATH)
    models = list(dict.fromkeys(settings.model_of(line) for line in settings.lines))
    if len(models) > 1 and not args.model:
        others = ", ".join(map(str, models[1:]))
        print(f"edgecls tune: tunes {models[0]}; tune the others with --model: {others}", file=sys.stderr)
    return load_bundle(args.model or models[0]), engine_settings(settings.engine)


def _wrong_usage(args: argparse.Namespace) -> str:
    if args.max_cores is not None and args.max_cores < 1:
        return f"--max-cores {args.max_cores}: give 1 or more"
    if not 0 < args.seconds <= 86400:
        return f"--seconds {args.seconds:g}: give more than 0 and at most a day, 86400"
    return ""
