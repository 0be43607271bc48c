"""`edgecls evidence list|export`: pictures of rejects and reviews."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from service.evidence.export import Export
from service.evidence.item import Item
from service.evidence.reading import Wanted, kept_in, since
from service.progress import StepBar
from service.sections import Settings
from service.settings import load_settings


def run(args: argparse.Namespace) -> int:
    """Name them, or make a folder of them that the workshop trains on."""
    settings = load_settings(args.config)
    if args.line is not None and args.line not in {line.name for line in settings.lines}:
        names = ", ".join(line.name for line in settings.lines)
        print(
            f"edgecls evidence: there is no line {args.line!r} in the configuration: its lines are {names}",
            file=sys.stderr,
        )
        return 2
    try:
        wanted = Wanted(args.line, since(args.since) if args.since is not None else None, args.label)
    except ValueError as error:
        print(f"edgecls evidence: --since {error}", file=sys.stderr)
        return 2
    command: Callable[[argparse.Namespace, Settings, Wanted], int] = {"list": _list, "export": _export}[args.action]
    return command(args, settings, wanted)


def _list(args: argparse.Namespace, settings: Settings, wanted: Wanted) -> int:
    count = 0
    for item, picture in kept_in(settings.evidence_path, wanted):
        count += 1
        print(json.dumps(_as_json(item, picture), ensure_ascii=False) if args.json else _as_text(item, picture))
    if not count:
        print(f"no picture in {settings.evidence_path}" + _narrowed(wanted), file=sys.stderr)
    return 0


def _as_json(item: Item, picture: Path) -> dict[str, object]:
    return {"picture": str(picture), "label": item.label, "decision": item.decision}


def _as_text(item: Item, picture: Path) -> str:
    decision = item.decision
    score = "" if decision["score"] is None else f" {decision['score']:.2f}"
    said = f", a person says {item.label}" if item.label is not None else ""
    what = f"{decision['verdict']} {decision['label'] or ''}{score}{said}"
    return f"{decision['ts']}  {item.line}  part {decision['part']}  {what}  {picture}"


def _export(args: argparse.Namespace, settings: Settings, wanted: Wanted) -> int:
    export = Export(args.output)
    with StepBar() as bar:
        found = list(kept_in(settings.evidence_path, wanted))
        export.take(found, lambda what: bar.tell(what, sum(export.labels.values()) + export.unlabelled, len(found)))
    total = sum(export.labels.values()) + export.unlabelled
    if args.json:
        said = {"output": str(args.output), "pictures": total, "labels": dict(sorted(export.labels.items()))}
        print(json.dumps({**said, "unlabelled": export.unlabelled, "damaged": export.damaged}, ensure_ascii=False))
    else:
        labels = ", ".join(f"{label} {count}" for label, count in sorted(export.labels.items())) or "none"
        print(f"{args.output}: {total} pictures; with a label: {labels}; reviews without one: {export.unlabelled}")
        if export.damaged:
            print(f"{export.damaged} pictures could not be read, or left meanwhile")
    if not total:
        print(f"no picture in {settings.evidence_path}" + _narrowed(wanted), file=sys.stderr)
    return 0


def _narrowed(wanted: Wanted) -> str:
    given = [("line", wanted.line), ("since", wanted.since), ("label", wanted.label)]
    names = [f"--{name}" for name, value in given if value is not None]
    return f" that fits {' '.join(names)}" if names else ""
