"""What a line counts. Frames are counted by its inspecting thread alone, decisions by whichever thread tells them."""

import threading
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from edge.decision import Decision, Verdict
from service.messages import Counts

LATENCIES_KEPT = 4096


class Tally:
    """The counts of one line since it was made."""

    def __init__(self) -> None:
        self.frames = 0
        self.bad_frames = 0
        self.withheld = 0
        self.source_losses = 0
        """How often the source had no frames, after it had had some."""
        self._decided: Counter[tuple[Verdict, str]] = Counter()
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._counting = threading.Lock()

    def count(self, decision: Decision) -> None:
        """One that is told."""
        evidence = decision.ruling.evidence
        label = evidence.classification.label if evidence is not None else ""
        with self._counting:
            if decision.total_ms is not None:
                self._latencies_ms.append(decision.total_ms)
            self._decided[decision.ruling.verdict, label] += 1

    @property
    def decided(self) -> Mapping[tuple[Verdict, str], int]:
        """Decisions by verdict and label, which is empty where there is no picture."""
        with self._counting:
            return dict(self._decided)

    def counts(self, dropped: int) -> Counts:
        """For people and messages.

        Args:
            dropped: frames that the source has dropped.
        """
        verdicts: Counter[Verdict] = Counter()
        for (verdict, _), count in self.decided.items():
            verdicts[verdict] += count
        return Counts(
            frames=self.frames,
            bad_frames=self.bad_frames,
            dropped=dropped,
            decisions=sum(verdicts.values()),
            passes=verdicts["pass"],
            rejects=verdicts["reject"],
            reviews=verdicts["review"],
            withheld=self.withheld,
        )

    def take_latencies(self) -> dict[str, float | None]:
        """p50, p95 and p99 in milliseconds of the decisions since the last call, None without any."""
        values = [self._latencies_ms.popleft() for _ in range(len(self._latencies_ms))]
        if not values:
            return {"p50": None, "p95": None, "p99": None}
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        return {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}
