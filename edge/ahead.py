"""What the model says of a file's pictures before their turn comes: as many at a time as the engine has streams.

    decoded frame --begin--> threads `ahead`: preprocess, infer --> Answer --> the pipeline, frame by frame, in order

One inference at a time on all cores leaves them waiting for each other whenever one of them decodes, shrinks or sends.
Several at a time, each on cores of its own, do not wait.
"""

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from edge.classification import Answer
from edge.clock import Clock
from edge.engine import Engine, Slot
from edge.errors import EdgeError, EngineError
from edge.frame import Image
from edge.preprocess import Preprocessor, Roi


class _Place:
    """One of the inferences that run at the same time. Used by one thread at a time."""

    def __init__(self, slot: Slot, roi: Roi | None, clock: Clock) -> None:
        self._slot = slot
        self._roi = roi
        self._clock = clock
        self._preprocess = Preprocessor(slot.engine.bundle.manifest.input.spec, slot.input)
        self._works = True

    def look(self, image: Image) -> Answer:
        """What the model says.

        Raises:
            BadFrameError: the picture cannot be used.
            EngineError: the engine failed.
        """
        if not self._works:
            self._slot.restore()
            self._works = True
        start_ns = self._clock.monotonic_ns()
        self._preprocess(self._roi.view(image) if self._roi else image)
        preprocessed_ns = self._clock.monotonic_ns()
        try:
            self._slot.infer()
        except EngineError:
            self._works = False
            raise
        inferred_ns = self._clock.monotonic_ns()
        scores = tuple(self._slot.scores[0].tolist())
        return Answer(scores, preprocessed_ns - start_ns, inferred_ns - preprocessed_ns)


class Ahead:
    """Of one line, whose model classifies whole regions of interest. `begin` belongs to its capturing thread.

    Args:
        engine: with more than one stream.
        roi: region of interest; the whole frame when None.
        clock: for the durations.
    """

    def __init__(self, engine: Engine, roi: Roi | None, clock: Clock) -> None:
        self.at_once = engine.plan.streams
        """So many pictures are looked at at the same time."""
        self._places: queue.SimpleQueue[_Place] = queue.SimpleQueue()
        for _ in range(self.at_once):
            self._places.put(_Place(engine.slot(), roi, clock))
        self._threads: ThreadPoolExecutor | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Its threads run as long as this lasts, and no picture is looked at any more when it has ended."""
        self._threads = ThreadPoolExecutor(self.at_once, thread_name_prefix="ahead")
        try:
            yield
        finally:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def begin(self, image: Image) -> "Future[Answer | None]":
        """Look at a picture, (height, width, 3) uint8, BGR, which stays as it is meanwhile. There may be no answer."""
        if self._threads is None:
            raise RuntimeError("begin before at_work")
        return self._threads.submit(self._look, image)

    def _look(self, image: Image) -> Answer | None:
        place = self._places.get()
        try:
            return place.look(image)
        except EdgeError:  # the pipeline meets the same when it asks itself, and says so
            return None
        finally:
            self._places.put(place)
