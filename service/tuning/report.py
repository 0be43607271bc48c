"""What came out of a race: the entry of the file, and the text for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge.backends import BACKENDS, Plan
from edge.backends.plan import Hint
from edge.bundle import Bundle
from edge.tuning import TIE, Measured, best, processor
from service.tuning.race import DISTURBED, GOALS, Race, undisturbed


@dataclass(frozen=True)
class Outcome:
    """A race that is over.

    Attributes:
        bundle: what was run.
        goal: what `--for` names.
        race: what was measured.
        rule: the plan without tuning, for each goal.
        settings: of the run: what the command line and the configuration said.
        at: when it began, ISO 8601.
        seconds: how long it took.
    """

    bundle: Bundle
    goal: Hint
    race: Race
    rule: dict[Hint, Plan]
    settings: dict[str, Any]
    at: str
    seconds: float

    def pick(self, goal: Hint) -> Measured | None:
        """The winner of a goal."""
        return best(self.race.measured(), goal)

    def of_the_rule(self, goal: Hint) -> Measured | None:
        """What the plan without tuning did, if it was in the race."""
        return next((m for m in self.race.measured() if m.plan == self.rule[goal]), None)

    def entry(self) -> dict[str, Any]:
        """For the file."""
        manifest = self.bundle.manifest
        picks = {goal: self.pick(goal) for goal in GOALS}
        preferred = picks[self.goal]
        return {
            "model": {"name": manifest.name, "version": manifest.version},
            "at": self.at,
            "seconds": round(self.seconds, 1),
            "settings": self.settings,
            "rounds": self.race.rounds,
            "clear": self.race.clear,
            "preferred": asdict(preferred.plan) if preferred else None,
            "picks": {goal: asdict(pick.plan) if pick else None for goal, pick in picks.items()},
            "rule": {goal: asdict(plan) for goal, plan in self.rule.items()},
            "notes": self.notes(),
            "measured": [_rounded(asdict(measured)) for measured in self.race.measured()],
            "failed": [asdict(failure) for failure in self.race.failed],
        }

    def notes(self) -> list[str]:
        """What was chosen and why, what it gains, and whether INT8 loses: a sentence each."""
        found = [note for goal in GOALS for note in self._choice(goal)]
        return found + int8_against_fp32(self.race.measured()) + self._disturbance()

    def text(self) -> str:
        """For people."""
        manifest = self.bundle.manifest
        measured = sorted(self.race.measured(), key=lambda one: one.cost(self.goal))
        count = len(self.race.samples) + len(self.race.failed)
        run = f"{count} candidates, {self.race.rounds} rounds, {self.seconds:.0f} s"
        lines = [
            f"{manifest.name} {manifest.version} on {processor()}: {run}",
            "",
            f"{'p50 ms':>8} {'of processes':>17} {'fps':>8} {'CPU ms':>8} {'MiB':>5}   candidate",
        ]
        winner = self.pick(self.goal)
        for one in measured:
            p50s = [sample.p50_ms for sample in undisturbed(one.samples)]
            spread = f"{min(p50s):.2f}-{max(p50s):.2f} ({len(p50s)})"
            mark = "*" if winner is not None and one.plan == winner.plan else " "
            lines.append(
                f"{one.p50_ms:8.3f} {spread:>17} {one.fps:8.1f} {one.cpu_ms:8.2f} {one.peak_mib:5.0f} {mark} {one.plan}"
            )
        lines += [f"out: {failure.plan}: {failure.why}" for failure in self.race.failed]
        return "\n".join([*lines, "", *self.notes()])

    def _disturbance(self) -> list[str]:
        samples = [sample for measured in self.race.measured() for sample in measured.samples]
        disturbed = sum(sample.others > DISTURBED for sample in samples)
        if disturbed * 10 <= len(samples):
            return []
        taken = f"Other work took cores from {disturbed} of {len(samples)} processes"
        return [f"{taken}: stop it, also the daemon (systemctl stop edgecls), and tune again for figures that hold."]

    def _choice(self, goal: Hint) -> list[str]:
        pick, rule = self.pick(goal), self.of_the_rule(goal)
        if pick is None:
            return [f"For {goal}: nothing, for no candidate ran."]
        value = f"{pick.p50_ms:.2f} ms" if goal == "latency" else f"{pick.fps:.0f} per second"
        quickest = min((m for m in self.race.measured() if goal == "throughput" or m.plan.streams == 1), key=_by(goal))
        why = "the quickest"
        if quickest.plan != pick.plan:
            why = f"as quick as {quickest.plan} within {(TIE - 1) * 100:.0f} %, and takes less or is simpler"
            if quickest.cost(goal) * TIE < pick.cost(goal):
                why = "the quickest of those that were measured often enough"
        found = [f"For {goal}: {pick.plan}, {value}: {why}."]
        if rule is not None and rule.plan != pick.plan:
            found.append(
                f"For {goal} that is {rule.cost(goal) / pick.cost(goal):.2f} times as fast as the rule without tuning "
                f"({rule.plan})."
            )
        elif rule is not None:
            found.append(f"For {goal} the rule without tuning says the same.")
        return found


def int8_against_fp32(measured: Sequence[Measured]) -> list[str]:
    """Where INT8 loses, for each backend and device and overall: a sentence each."""
    found = []
    ways = sorted({(m.plan.backend, m.plan.device) for m in measured}, key=lambda way: (BACKENDS.index(way[0]), way[1]))
    for backend, device in ways:
        of_it = [m for m in measured if (m.plan.backend, m.plan.device) == (backend, device)]
        found += _loses(of_it, f"on {backend}, device {device}")
    return found + _loses(measured, "overall")


def _loses(measured: Sequence[Measured], where: str) -> list[str]:
    int8, fp32 = (best([m for m in measured if m.plan.precision == p], "latency") for p in ("int8", "fp32"))
    if int8 is None or fp32 is None or int8.p50_ms <= fp32.p50_ms * TIE:
        return []
    return [f"INT8 loses to FP32 {where}: {int8.p50_ms:.2f} ms against {fp32.p50_ms:.2f} ms."]


def _by(goal: Hint) -> Any:
    return lambda measured: measured.cost(goal)


def _rounded(value: Any) -> Any:
    """Five digits: what is measured has no more."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
