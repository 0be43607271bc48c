"""The thread `evidence`: rejects and reviews with their pictures, from the publisher to the disk.

    publish --offer--> [offered, bounded: the newcomer is not kept] --JPEG--> [a second's worth] --> ring (disk)

Nobody waits for it, and it waits for the disk for as long as that takes. While the disk takes nothing, or the hour's
writes are spent, no pictures are taken, so that none are copied either.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.clock import Clock, rfc3339
from edge.stills import Still
from service.evidence.budget import Budget
from service.evidence.gallery import Gallery
from service.evidence.item import EvidenceError, Item
from service.evidence.picture import jpeg, small, with_comment
from service.evidence.ring import Ring
from service.messages import Json, encode

log = logging.getLogger(__name__)

OFFERED = 8
"""Pictures that wait for the thread."""
GATHER_NS = 1_000_000_000
"""What comes within this time is written together: an SD card counts its writes."""
GATHERED_BYTES = 4 * 1024 * 1024
RETRY_NS = 10_000_000_000
"""After the disk has taken nothing."""
PUBLISH_NS = 1_000_000_000
"""Between two pictures of a line over MQTT."""

Why = Literal["busy", "rate", "disk", "size"]
"""Why a picture is not kept: too many at once; the writes of this hour are spent; the disk takes none; too large."""


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """What is kept, and how.

    Attributes:
        path: the folder.
        max_bytes: what the files in it may take up; 0: none are kept.
        per_hour: pictures kept in an hour, at most.
        quality: of the JPEG, 1 to 100.
        publish: whether small ones go out over MQTT.
        reserve_bytes: what is left of the disk to the decisions.
    """

    path: Path
    max_bytes: int
    per_hour: int
    quality: int = 90
    publish: bool = False
    reserve_bytes: int = 0


class EvidenceStore(Gallery):
    """Keeps pictures, and shows what is kept. Any thread may use it.

    Args:
        settings: what is kept, and how.
        clock: the time.
        publish: sends a small JPEG of a line: its name, the JPEG. Called by the thread `evidence`.
        on_trouble: called by the thread `evidence` when `problem` has changed.
    """

    def __init__(
        self,
        settings: EvidenceSettings,
        clock: Clock,
        publish: Callable[[str, bytes], None] | None = None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(Ring(settings.path, settings.max_bytes, settings.reserve_bytes))
        self._settings = settings
        self._clock = clock
        self._publish = publish if settings.publish else None
        self._on_trouble = on_trouble
        self._budget = Budget(settings.per_hour, clock)
        self._retry_at_ns = 0
        self._published_at_ns: dict[str, int] = {}
        self._changed = threading.Condition()
        self._offered: deque[tuple[Json, Still]] = deque()
        self._gathered: list[tuple[Item, bytes]] = []
        self._gathered_at_ns = 0
        self._refused_bytes = 0
        self._stopping = False
        self.kept: Counter[str] = Counter()
        """By line, since the start."""
        self.unkept: Counter[tuple[str, Why]] = Counter()
        """By line and reason, since the start."""
        self.problem = ""
        """What is wrong with the folder, one sentence for people; empty when all is well."""
        # It may hang with its disk: nobody waits for it at the end.
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is anything to do."""
        if self.enabled or self._publish is not None:
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what has been offered, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.error("the last pictures could not be kept: the disk of %s hangs", self._ring.path)

    @property
    def enabled(self) -> bool:
        """Whether any are kept."""
        return self._settings.max_bytes > 0

    def wants(self, line: str) -> bool:
        """Whether a picture of that line would be taken now. Called by the inspecting threads, and takes no lock."""
        return len(self._offered) < OFFERED and (self._may_keep() or self._may_publish(line))

    def offer(self, message: Json, still: Still | None) -> None:
        """Hand over a decision that has a picture, or should have one. Called by the thread `publish`; never waits."""
        if still is not None:
            with self._changed:
                if len(self._offered) < OFFERED:
                    self._offered.append((message, still))
                    self._changed.notify_all()
                    return
        if self.enabled and message["frame"] is not None and message["verdict"] != "pass":
            self._pass_over(message["line"])

    @property
    def counts(self) -> Mapping[str, int]:
        """`kept` and `unkept` since the start; `items` and `bytes` that lie there."""
        unkept = sum(dict(self.unkept).values())
        kept = sum(dict(self.kept).values())
        return {"kept": kept, "unkept": unkept, "items": self._ring.count, "bytes": self._ring.taken_bytes}

    def _may_keep(self) -> bool:
        return self.enabled and self._clock.monotonic_ns() >= self._retry_at_ns and self._budget.has_one()

    def _may_publish(self, line: str) -> bool:
        if self._publish is None:
            return False
        return self._clock.monotonic_ns() >= self._published_at_ns.get(line, 0)

    def _pass_over(self, line: str) -> None:
        why: Why = "busy"
        if self.problem:
            why = "disk"
        elif not self._budget.has_one():
            why = "rate"
        self.unkept[line, why] += 1

    def _run(self) -> None:
        if self.enabled:
            self._open()
        over = False
        while not over:
            try:
                over = self._step()
            except Exception:
                log.exception("a picture could not be kept: a mistake in edgecls, please report it")
        self._ring.close()

    def _step(self) -> bool:
        """Take in what was offered, or write what was gathered; whether this is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._offered or self._stopping, self._pause_s())
            # It stays in its place until it has been taken in: `wants` counts it.
            offered = self._offered[0] if self._offered else None
            over = self._stopping and offered is None
        if offered is not None:
            try:
                self._take_in(*offered)
            finally:
                self._offered.popleft()
                del offered
        if self._gathered and (over or self._is_due()):
            self._write()
        elif self.problem and not over and self._clock.monotonic_ns() >= self._retry_at_ns:
            self._look_again()
        return over

    def _pause_s(self) -> float | None:
        if self._gathered:
            until_ns = self._gathered_at_ns + GATHER_NS
        elif self.problem:
            until_ns = self._retry_at_ns
        else:
            return None
        return max(0.0, (until_ns - self._clock.monotonic_ns()) / 1e9)

    def _look_again(self) -> None:
        """Whether what was wrong has been mended: on a line of good parts nobody else finds out."""
        if not self._ring.is_open:
            if self._open():
                self._now("")
            return
        try:
            self._ring.check(self._refused_bytes)
        except OSError as error:
            self._fail(error)
        else:
            self._now("")

    def _is_due(self) -> bool:
        many = sum(len(data) for _, data in self._gathered) > min(GATHERED_BYTES, self._settings.max_bytes // 4)
        return many or self._clock.monotonic_ns() >= self._gathered_at_ns + GATHER_NS

    def _take_in(self, message: Json, still: Still) -> None:
        line = message["line"]
        if self._publish is not None and self._may_publish(line):
            self._published_at_ns[line] = self._clock.monotonic_ns() + PUBLISH_NS
            about = {key: message[key] for key in ("id", "line", "part", "verdict", "label", "ts")}
            self._publish(line, with_comment(small(still.image), encode(about)))
        if not self.enabled:
            return
        if not self._may_keep() or not (self._ring.is_open or self._open()):
            self._pass_over(line)
            return
        data = jpeg(still.image, self._settings.quality)
        height, width = still.image.shape[:2]
        item = Item(
            id=message["id"],
            line=line,
            decision=message,
            label=None,
            labels=still.about.labels,
            picture_seq=still.seq,
            captured_at=rfc3339(still.captured_at_ns),
            width=width,
            height=height,
            roi=still.about.roi,
            size_bytes=len(data),
            saved=self._budget.spend(),
        )
        if not self._ring.takes(item, len(item.json())):
            self.unkept[line, "size"] += 1
            if self.unkept[line, "size"] == 1:
                log.error("a picture of line %s is larger than evidence.max_mib allows: raise it", line)
            return
        if not self._gathered:
            self._gathered_at_ns = self._clock.monotonic_ns()
        self._gathered.append((item, data))

    def _write(self) -> None:
        gathered, self._gathered = self._gathered, []
        try:
            while gathered:  # mostly once; large ones in a small ring one after the other
                some = gathered[:1] if len(gathered) * max(i.size_bytes for i, _ in gathered) > self._half else gathered
                self._ring.add(some)
                self.kept.update(item.line for item, _ in some)
                gathered = gathered[len(some) :]
        except OSError as error:
            self.unkept.update((item.line, "disk") for item, _ in gathered)
            self._refused_bytes = max(item.size_bytes for item, _ in gathered)
            self._fail(error)
        else:
            self._now("")
        self._tell()

    @property
    def _half(self) -> int:
        return self._settings.max_bytes // 2

    def _open(self) -> bool:
        """Make the folder, or take over what is in it, and go on with what is left of the hour's writes."""
        try:
            removed = self._ring.open()
            newest = self._ring.newest
        except OSError as error:
            self._fail(error)
        except EvidenceError as error:
            self._retry_at_ns = self._clock.monotonic_ns() + RETRY_NS
            self._now(str(error))
        else:
            if newest is not None:
                self._budget.resume(newest.saved, removed)
            if removed:
                log.info("%d pictures in %s were half-written when edgecls ended: removed", removed, self._ring.path)
            self._tell()
        return self._ring.is_open

    def _fail(self, error: OSError) -> None:
        self._retry_at_ns = self._clock.monotonic_ns() + RETRY_NS
        text = f"pictures of rejects are not kept: {self._ring.path} cannot be written to ({error.strerror})"
        self._now(f"{text}; edgecls doctor says what to do")

    def _now(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            log.error(problem)
        else:
            log.info("pictures of rejects are kept again")
        self._on_trouble()
