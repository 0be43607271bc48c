"""The path of a frame, top to bottom: preprocess, infer, classify, decide.

    source -> Frame -> preprocess -> infer -> classify -> decide -> Decision -> emit
                       (writes the    (engine)             (or nothing
                        engine's input)                     to tell)

One pipeline belongs to one line and is used by that line's inspecting thread. The buffers on its path are made once,
by the source, the preprocessor and the backend; what is allocated per frame is as small as a few scores.
"""

from edge.backends import Backend
from edge.classification import Classification
from edge.clock import Clock
from edge.decision import Decider, Decision, Latency
from edge.frame import Frame
from edge.preprocess import InputSpec, Preprocessor, Roi


class Pipeline:
    """From a frame to what there is to tell about it.

    Args:
        backend: the engine; the pipeline writes its input and reads its scores.
        spec: what the model expects.
        labels: in the model's order.
        decider: turns classifications into verdicts.
        clock: for the timestamps and latencies.
        roi: region of interest; the whole frame when None.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        spec: InputSpec,
        labels: tuple[str, ...],
        decider: Decider,
        clock: Clock,
        roi: Roi | None = None,
    ) -> None:
        self._backend = backend
        self._labels = labels
        self._decider = decider
        self._clock = clock
        self._preprocess = Preprocessor(spec, backend.input, roi)

    def inspect(self, frame: Frame) -> Decision | None:
        """Look at one frame; the decision, or None when there is nothing new to tell.

        Raises:
            BadFrameError: this frame cannot be used.
            BackendError: the engine failed.
        """
        start_ns = self._clock.monotonic_ns()
        self._preprocess(frame.image)
        preprocessed_ns = self._clock.monotonic_ns()
        self._backend.infer()
        inferred_ns = self._clock.monotonic_ns()
        classification = self.classify()
        verdict = self._decider.decide(classification)
        if verdict is None:
            return None
        decided_at_ns = self._clock.now_ns()
        return Decision(
            line=frame.line,
            verdict=verdict,
            classification=classification,
            decided_at_ns=decided_at_ns,
            seq=frame.seq,
            captured_at_ns=frame.captured_at_ns,
            width=frame.width,
            height=frame.height,
            file=frame.file,
            latency=Latency(
                preprocess=(preprocessed_ns - start_ns) / 1e6,
                infer=(inferred_ns - preprocessed_ns) / 1e6,
                total=(decided_at_ns - frame.captured_at_ns) / 1e6,
            ),
        )

    def classify(self) -> Classification:
        """The scores that the last inference left, with their labels."""
        return Classification(self._labels, tuple(self._backend.scores[0].tolist()))
