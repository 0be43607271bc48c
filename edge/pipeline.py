"""The path of a frame, top to bottom: look, preprocess, infer, classify, decide.

    source -> Frame -> look -> preprocess -> infer -> classify -> decide -> Decision -> emit
                       (is there  (writes the   (engine)             (or nothing
                        a part?)   engine's input)                    to tell)

One pipeline belongs to one line and is used by that line's inspecting thread. The buffers on its path are made once,
by the source, the preprocessor and the slot at the engine; what is allocated per frame is as small as a few scores.
"""

from collections.abc import Iterable, Mapping

from edge.area import Area
from edge.classification import Classification
from edge.clock import Clock
from edge.decision import Decider, Decision, Evidence, Ruling
from edge.engine import Slot
from edge.frame import Frame
from edge.histogram import Stages
from edge.preprocess import Preprocessor, Roi
from edge.segmentation import MaskReader
from edge.stills import About, Stills


class Pipeline:
    """From a frame to what there is to tell about it.

    Args:
        slot: the line's place at the engine; the pipeline writes its input and reads its scores.
        decider: turns classifications into rulings.
        clock: for the timestamps and latencies.
        roi: region of interest; the whole frame when None.
        min_area: of a model that draws masks: smaller regions are passed over; in place of what the bundle says.
        stills: for pictures of what is rejected or in doubt, the decider's own; None when nobody wants them.
    """

    def __init__(
        self,
        *,
        slot: Slot,
        decider: Decider,
        clock: Clock,
        roi: Roi | None = None,
        min_area: Mapping[str, Area] | None = None,
        stills: Stills | None = None,
    ) -> None:
        self._slot = slot
        manifest = slot.engine.bundle.manifest
        self._labels = slot.engine.bundle.labels
        self._masks = MaskReader(slot, min_area or {}) if manifest.task == "segmentation" else None
        if self._masks and roi:
            self._masks.prepare(roi.height, roi.width)
        # After an inference the processor's caches are full of the model, and what touches little memory is quick:
        # so this is no numpy, and the records from here to the decision are plain tuples.
        self._scores = memoryview(slot.outputs[0][0])
        self._decider = decider
        self._clock = clock
        self._roi = roi
        self.stages = Stages()
        """How long they take; read by other threads."""
        self._stills = stills or Stills(About(), lambda: False)
        self._preprocess = self._masks.preprocess if self._masks else Preprocessor(manifest.input.spec, slot.input)

    def inspect(self, frame: Frame) -> list[Decision]:
        """Look at one frame; the decisions that it leads to, mostly none.

        Raises:
            BadFrameError: this frame cannot be used.
            EngineError: the engine failed; `restore` it before the next frame.
        """
        clock = self._clock
        start_ns = clock.monotonic_ns()
        self._stills.frame = frame
        region = self._roi.view(frame.image) if self._roi else frame.image
        subject = self._decider.look(region, frame.captured_at_ns)
        looked_ns = clock.monotonic_ns()
        preprocess_ns = infer_ns = 0
        if subject is not None:
            answer = frame.answer.result() if frame.answer is not None else None
            if answer is not None:
                scores, preprocess_ns, infer_ns = answer
            else:
                self._preprocess(region)
                if subject.background is not None:
                    self._preprocess.blank(subject.background, subject.start, subject.stop, subject.axis)
                preprocessed_ns = clock.monotonic_ns()
                self._slot.infer()
                infer_ns, preprocess_ns = clock.monotonic_ns() - preprocessed_ns, preprocessed_ns - looked_ns
                scores = tuple(self._scores.tolist()) if self._masks is None else ()
            self._decider.take(self._evidence(frame, scores, preprocess_ns, infer_ns))
        decisions = self._decisions(frame.line, self._decider.rulings(), frame.captured_at_ns)
        self._stills.frame = None
        self.stages.note(looked_ns - start_ns, preprocess_ns, infer_ns, clock.now_ns() - frame.captured_at_ns)
        return decisions

    def finish(self, line: str) -> list[Decision]:
        """The decisions on what is still in view when no frame follows."""
        self._stills.frame = None
        return self._decisions(line, self._decider.finish(), None)

    def restore(self) -> None:
        """Get an engine that has failed to work again.

        Raises:
            EngineError: it does not yet.
        """
        self._slot.restore()

    def _evidence(self, frame: Frame, scores: tuple[float, ...], preprocess_ns: int, infer_ns: int) -> Evidence:
        """What the engine has found; scores are those of a classifier."""
        if self._masks is None:
            classification, regions = Classification(self._labels, scores), None
        else:
            classification, regions = self._masks.read(*(self._roi.x, self._roi.y) if self._roi else (0, 0))
        height, width, _ = frame.image.shape
        return Evidence(
            classification,
            frame.seq,
            frame.captured_at_ns,
            width,
            height,
            frame.file,
            preprocess_ns / 1e6,
            infer_ns / 1e6,
            frame.doubt,
            regions,
        )

    def _decisions(self, line: str, rulings: Iterable[Ruling], captured_at_ns: int | None) -> list[Decision]:
        now_ns = self._clock.now_ns()
        decisions = []
        for ruling in rulings:
            since_ns = captured_at_ns or (ruling.evidence.captured_at_ns if ruling.evidence else now_ns)
            decisions.append(Decision(line, self._pictured(ruling), now_ns, (now_ns - since_ns) / 1e6))
        return decisions

    def _pictured(self, ruling: Ruling) -> Ruling:
        """With a picture of the frame at hand, which it is about or near to, where it has none and should have one."""
        if ruling.verdict == "pass" or ruling.still is not None:
            return ruling
        return ruling._replace(still=self._stills.take())
