"""`python -m models score-parts`: what a line decided about a rendered clip, held against the clip's truth.

The truth comes from `python -m models synth line`; the decisions are messages of the topic `defects`, one JSON object
per line, of a run over that video in which no frame was dropped. Only `frame.seq`, `verdict`, `label` and, where it is
there, `reason` are read.

A decision is matched to the part of which its evidence frame shows the largest share. Where several parts share the
first place, as two that are wholly in view do, it is matched to one of them that has no decision yet.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOOD = "ok"
VERDICTS = ("pass", "reject", "review")
GROUPS = ("touching", "stopped", "went_back")


@dataclass(frozen=True, slots=True)
class Told:
    """One decision."""

    seq: int
    verdict: str
    label: str
    reason: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `score-parts`."""
    parser.add_argument("truth", type=Path, metavar="TRUTH.json", help="what `synth line` wrote beside the video")
    parser.add_argument("decisions", type=Path, metavar="DECISIONS.jsonl", help="messages of the topic `defects`")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def run(args: argparse.Namespace) -> None:
    """Score and print.

    Raises:
        ValueError: a file is not what it should be, or the decisions are of another clip.
        OSError: a file cannot be read.
    """
    report = score(read_truth(args.truth), read_decisions(args.decisions))
    print(json.dumps(report) if args.json else table(report))


def read_truth(path: Path) -> dict[str, Any]:
    """The truth of a clip that `synth line` rendered.

    Raises:
        ValueError: it is something else.
    """
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
        truth["direction"], truth["parts"], truth["frames"][0]["parts"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} is not the truth of a clip: give what `synth line` wrote beside it.") from error
    return dict(truth)


def read_decisions(path: Path) -> list[Told]:
    """Decisions, one JSON object per line, in the order in which they were made.

    Raises:
        ValueError: which line is no decision.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            told = Told(int(said["frame"]["seq"]), said["verdict"], said["label"], said.get("reason"))
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path}:{number} is not a decision: give messages of the topic `defects`.") from error
        if told.verdict not in VERDICTS:
            raise ValueError(f"{path}:{number}: verdict {told.verdict!r} is not one of {', '.join(VERDICTS)}.")
        found.append(told)
    return found


def match(truth: dict[str, Any], decisions: list[Told]) -> dict[int | None, list[Told]]:
    """The decisions of each part, by its number, and with None those whose evidence frame shows no part.

    Raises:
        ValueError: the clip has no such frame.
    """
    frames = truth["frames"]
    choices = []
    for told in decisions:
        if not 0 <= told.seq < len(frames):
            raise ValueError(
                f"A decision has frame {told.seq} as evidence, the clip has {len(frames)} frames: "
                "give the decisions of this clip, played once."
            )
        choices.append((told, _candidates(frames[told.seq]["parts"], _view(truth))))
    choices.sort(key=lambda choice: len(choice[1]))  # who has no choice goes first; else in order
    found: dict[int | None, list[Told]] = {part["part"]: [] for part in truth["parts"]}
    found[None] = []
    for told, candidates in choices:
        free = [number for number in candidates if not found[number]] or candidates
        found[free[0] if free else None].append(told)
    return found


def score(truth: dict[str, Any], decisions: list[Told]) -> dict[str, Any]:
    """Count; `docs/bundles.md` says what each figure means."""
    found = match(truth, decisions)
    complete = [part for part in truth["parts"] if part["complete"]]
    cut = [part["part"] for part in truth["parts"] if not part["complete"]]
    plain = [part for part in complete if not any(part[group] for group in GROUPS)]
    return {
        "parts": len(truth["parts"]),
        "decisions": len(decisions),
        "no_part": [told.seq for told in found[None]],
        "cut_off": {"parts": len(cut), "several": [number for number in cut if len(found[number]) > 1]},
        "complete": _figures(complete, found),
        "plain": _figures(plain, found),
        **{group: _figures([part for part in complete if part[group]], found) for group in GROUPS},
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    cut_off = report["cut_off"]
    lines = [
        f"{report['parts']} parts, {report['decisions']} decisions, {len(report['no_part'])} with no part in view",
        f"not counted below: {cut_off['parts']} parts cut off by the clip's ends, {len(cut_off['several'])} told twice",
        "",
        f"{'':12}{'parts':>8}{'one':>8}{'none':>8}{'several':>8}{'share':>9}{'right':>9}{'label':>9}{'review':>9}",
    ]
    for name in ("complete", "plain", *GROUPS):
        row = report[name]
        counts = f"{row['parts']:8}{row['one']:8}{len(row['none']):8}{len(row['several']):8}"
        shares = [row[key] for key in ("one_share", "right_verdict_share", "right_label_share", "review_share")]
        lines.append(f"{name:12}{counts}" + "".join(f"{'-' if s is None else f'{s:.4f}':>9}" for s in shares))
    lines += ["", f"{'truth':12}" + "".join(f"{verdict:>8}" for verdict in VERDICTS)]
    for truth, row in report["complete"]["verdicts"].items():
        lines.append(f"{truth:12}" + "".join(f"{row[verdict]:8}" for verdict in VERDICTS))
    reasons = report["complete"]["reasons"]
    if reasons:
        lines += ["", "reasons: " + ", ".join(f"{reason} {count}" for reason, count in reasons.items())]
    return "\n".join(lines)


def _view(truth: dict[str, Any]) -> int:
    """Px of the picture along the belt."""
    return int(truth["height"] if truth["direction"] in {"down", "up"} else truth["width"])


def _candidates(parts: list[list[int]], view: int) -> list[int]:
    """The numbers of the parts of which a frame shows the largest share, in hundredths."""
    shares = {number: round((min(high, view) - max(low, 0)) / (high - low), 2) for number, low, high in parts}
    return [number for number, share in shares.items() if share == max(shares.values())]


def _figures(parts: list[dict[str, Any]], found: dict[int | None, list[Told]]) -> dict[str, Any]:
    """The figures of some parts. Shares of verdicts and labels are of the decisions, the others of the parts."""
    told = [(part["label"], decision) for part in parts for decision in found[part["part"]]]
    verdicts = {wanted: dict.fromkeys(VERDICTS, 0) for wanted in ("pass", "reject")}
    for label, decision in told:
        verdicts[_wanted(label)][decision.verdict] += 1
    one = [part for part in parts if len(found[part["part"]]) == 1]
    wholly_right = [part for part in one if found[part["part"]][0].verdict == _wanted(part["label"])]
    return {
        "parts": len(parts),
        "one": len(one),
        "one_share": _share(len(one), len(parts)),
        "one_and_right_share": _share(len(wholly_right), len(parts)),
        "none": [part["part"] for part in parts if not found[part["part"]]],
        "several": [part["part"] for part in parts if len(found[part["part"]]) > 1],
        "right_verdict_share": _share(sum(_wanted(label) == said.verdict for label, said in told), len(told)),
        "right_label_share": _share(sum(label == said.label for label, said in told), len(told)),
        "review_share": _share(sum(said.verdict == "review" for _, said in told), len(told)),
        "verdicts": verdicts,
        "reasons": dict(Counter(said.reason for _, said in told if said.reason is not None).most_common()),
    }


def _wanted(label: str) -> str:
    return "pass" if label == GOOD else "reject"


def _share(count: int, whole: int) -> float | None:
    return round(count / whole, 4) if whole else None
