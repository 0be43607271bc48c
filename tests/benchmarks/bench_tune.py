"""Whether `edgecls tune` finds the best: three runs of it, then all candidates measured in turns.

By hand, on a machine that does nothing else: `python tests/benchmarks/bench_tune.py --model models/surface-demo`.
Both parts take the same measure, what a third of the processes are better than. A pick is right when it is within 2 %
of the best of the grid; the noise floor is the best against itself: its odd and its even processes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from edge.backends import Plan  # noqa: E402  # needs the path
from edge.backends.plan import Hint  # noqa: E402  # needs the path
from edge.tuning import Measured  # noqa: E402  # needs the path
from service.tuning.race import DISTURBED, GOALS, summary, undisturbed  # noqa: E402  # needs the path

MARGIN = 0.02


def tune(model: Path, seconds: float, *more: str) -> dict[str, Any]:
    """The entry that one run wrote."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "service.cli", "tune", "--json", "--model", str(model)]
        command += ["--seconds", str(seconds), "--output", f"{folder}/tuning.json", *more]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    entry: dict[str, Any] = json.loads(done.stdout)
    return entry


def judge(entry: dict[str, Any], grid: list[Measured], goal: Hint, number: int) -> bool:
    """Print how far the pick of a run lies behind the best of the grid; whether that is within the margin."""
    able = [measured for measured in grid if goal == "throughput" or measured.plan.streams == 1]
    first = min(able, key=lambda measured: measured.cost(goal))
    plan = TypeAdapter(Plan).validate_python(entry["picks"][goal])
    picked = next(measured for measured in grid if measured.plan == plan)
    behind = picked.cost(goal) / first.cost(goal) - 1
    right = behind <= MARGIN
    took = f"{entry['seconds']:.0f} s, {entry['rounds']} rounds"
    print(f"  {goal} {number}: {plan}: {behind:+.1%} {'within' if right else 'NOT within'} {MARGIN:.0%} ({took})")
    return right


def noise(measured: Measured, goal: Hint) -> float:
    """How much one half of its processes differs from the other."""
    samples = undisturbed(measured.samples)
    if len(samples) < 2:
        return float("nan")  # unknown
    odd, even = (summary(measured.plan, samples[start::2]).cost(goal) for start in (0, 1))
    return abs(odd / even - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, required=True, metavar="DIR")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--grid-seconds", type=float, default=180.0)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="what was measured, as JSON; read if it is there")
    parser.add_argument("--step", choices=("tune", "grid"), help="only one of the two; needs --keep")
    args = parser.parse_args()
    kept: dict[str, Any] = {}
    if args.keep and args.keep.exists():
        kept = json.loads(args.keep.read_text())
    if "runs" not in kept and args.step != "grid":
        kept["runs"] = [tune(args.model, args.seconds) for _ in range(args.runs)]
    if "grid" not in kept and args.step != "tune":
        kept["grid"] = tune(args.model, args.grid_seconds, "--grid")
    if args.keep:
        args.keep.write_text(json.dumps(kept))
    if "runs" not in kept or "grid" not in kept:
        return
    samples_of = TypeAdapter(list[Measured]).validate_python(kept["grid"]["measured"])
    grid = [summary(candidate.plan, candidate.samples) for candidate in samples_of]
    print(f"{args.model.name}: grid of {len(grid)} candidates, {kept['grid']['rounds']} rounds")
    for goal in GOALS:
        able = [measured for measured in grid if goal == "throughput" or measured.plan.streams == 1]
        ranking = sorted(able, key=lambda measured: measured.cost(goal))
        for measured in ranking[:4]:
            p50s = [sample.p50_ms for sample in undisturbed(measured.samples)]
            spread = f"p50 {measured.p50_ms:.3f} ms ({min(p50s):.3f} to {max(p50s):.3f}, {len(p50s)} processes)"
            print(f"  {goal}: {measured.plan}: {spread}, {measured.fps:.1f} fps")
        print(f"  {goal}: noise floor, the best against itself: {noise(ranking[0], goal):.1%}")
        right = [judge(entry, grid, goal, number) for number, entry in enumerate(kept["runs"], 1)]
        print(f"  {goal}: {sum(right)} of {len(right)} within {MARGIN:.0%} of the best")
    samples = [sample for measured in grid for sample in measured.samples]
    disturbed = sum(sample.others > DISTURBED for sample in samples)
    if 2 * disturbed > len(samples):
        print("  NOTHING IS PROVED: other work took cores from most processes; stop it and measure again")
    print(f"  processes disturbed by others: {disturbed} of {len(samples)} in the grid")


if __name__ == "__main__":
    main()
