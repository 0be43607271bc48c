"""`edgecls doctor`: what this device has and lacks, and what to do about it."""

import argparse
import json
import os
import sys
from collections import Counter
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from service.doctor.case import open_case
from service.doctor.examine import Check, examine
from service.doctor.finding import LEVELS, Finding, Level
from service.doctor.system import System
from service.progress import StepBar

SCHEMA = "edgecls/doctor/1"
_COLOURS = {"ok": "32", "note": "36", "warning": "33", "error": "1;31"}


def run(args: argparse.Namespace) -> int:
    """Examine, tell. 1 when something does not work."""
    case = open_case(System(), args.config.absolute(), try_sources=not args.no_sources)
    levels: Counter[Level] = Counter()
    told: list[dict[str, object]] = []
    section = ""
    with StepBar() as bar:

        def doing(check: Check, number: int, of: int) -> None:
            bar.tell(check.doing, number, of)

        for check, findings in examine(case, args.section or (), doing):
            for finding in findings:
                levels[finding.level] += 1
                told.append(_document(check.section, finding))
            if findings and not args.json:
                bar.pause()
                if check.section != section:
                    print(check.section if not section else f"\n{check.section}")
                    section = check.section
                for finding in findings:
                    print(_text(finding, colours=_has_colours()), flush=True)
    if args.json:
        print(json.dumps(_whole(case.config, levels, told), ensure_ascii=False))
    else:
        print(f"\n{_summary(levels)}")
    return 1 if levels["error"] else 0


def _document(section: str, finding: Finding) -> dict[str, object]:
    return {
        "section": section,
        "subject": finding.subject,
        "level": finding.level,
        "text": finding.text,
        "remedy": finding.remedy,
        "facts": dict(finding.facts),
    }


def _whole(config: Path, levels: "Counter[Level]", findings: list[dict[str, object]]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "version": version("edgecls"),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "config": str(config),
        "levels": {level: levels[level] for level in LEVELS},
        "findings": findings,
    }


def _text(finding: Finding, *, colours: bool) -> str:
    level = f"{finding.level:7}"
    if colours:
        level = f"\x1b[{_COLOURS[finding.level]}m{level}\x1b[0m"
    text = f"  {level}  {finding.subject}: {finding.text}"
    return f"{text}\n           -> {finding.remedy}" if finding.remedy else text


def _summary(levels: "Counter[Level]") -> str:
    if not levels["error"] and not levels["warning"]:
        return "Nothing is wrong."
    counts = ((levels["error"], "error"), (levels["warning"], "warning"))
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts if count)


def _has_colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
