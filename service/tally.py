"""What a line has counted: frames, decisions by verdict, and how long they took."""

import threading
from collections import deque

import numpy as np

from edge.decision import Decision, Verdict
from service.messages import Counts

LATENCIES_KEPT = 4096


class Tally:
    """Frames are counted by the inspecting thread; decisions by whoever tells them; anybody may ask."""

    def __init__(self) -> None:
        self.frames = 0
        self.bad_frames = 0
        self.withheld = 0
        self._verdicts: dict[Verdict, int] = {"pass": 0, "reject": 0, "review": 0}
        self._counting = threading.Lock()
        self._latencies_ms: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def count(self, decision: Decision) -> None:
        """One that is told."""
        with self._counting:
            if decision.total_ms is not None:
                self._latencies_ms.append(decision.total_ms)
            self._verdicts[decision.ruling.verdict] += 1

    def counts(self, dropped: int) -> Counts:
        """So far.

        Args:
            dropped: frames of the source that a newer one has replaced.
        """
        with self._counting:
            passes, rejects, reviews = (self._verdicts[verdict] for verdict in ("pass", "reject", "review"))
        return Counts(
            frames=self.frames,
            bad_frames=self.bad_frames,
            dropped=dropped,
            decisions=passes + rejects + reviews,
            passes=passes,
            rejects=rejects,
            reviews=reviews,
            withheld=self.withheld,
        )

    def take_latencies(self) -> dict[str, float | None]:
        """p50, p95 and p99 in milliseconds of the decisions since the last call, None without any."""
        values = [self._latencies_ms.popleft() for _ in range(len(self._latencies_ms))]
        if not values:
            return {"p50": None, "p95": None, "p99": None}
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        return {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}
