"""The engine of a bundle, which its lines share, and the place that each line has at it."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.backends import Backend, EngineSettings, Plan, Run, check_golden, load_backend
from edge.backends.choose import choose
from edge.bundle import Bundle, Precision
from edge.errors import BackendError, EngineError, PermanentError
from edge.frame import Image

log = logging.getLogger(__name__)


class Engine:
    """One bundle, loaded once. Warmed up and checked against its golden scores when it is made.

    When it fails it is loaded again for the line that asks first; the others find it there. A device that may come (a
    stick that is not plugged in yet) is waited for in the same way.

    Args:
        bundle: the model.
        settings: how to run it.
        lines: how many slots there will be.
        cores: how many this process may use; by default what the system allows it.
        load: what loads the model.

    Raises:
        BackendError: what is asked for is not there, or refuses the model.
        BundleError: the bundle has no such precision, or the scores are not the golden ones.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: EngineSettings,
        *,
        lines: int = 1,
        cores: int | None = None,
        load: Callable[[Bundle, Plan, EngineSettings], Backend] = load_backend,
    ) -> None:
        self.bundle = bundle
        self._load_backend = load
        self._settings = settings
        self._lines = lines
        self._cores = cores or len(os.sched_getaffinity(0))
        self._loading = threading.Lock()
        self._backend: Backend | None = None
        self._fallen_back = False
        self.generation = 0
        """Counts how often it was loaded."""
        try:
            self.plan, self.why = choose(bundle, settings, lines=lines, cores=self._cores)
            self._load()
        except (BackendError, EngineError) as error:
            if self._falls_back(error):
                self._load()
            elif isinstance(error, BackendError):
                raise
            else:
                log.warning("%s", error)

    @property
    def precision(self) -> Precision:
        """Of the model that runs now: after a fall-back it may be another one than at the start."""
        return self.plan.precision

    def slot(self) -> "Slot":
        """A place at the engine, for one line."""
        return Slot(self)

    def bind(self, image: Image, *outputs: npt.NDArray[Any]) -> tuple[Run, int]:
        """Bind the arrays of a slot to the model, which is loaded first if it was lost; how to run it.

        Raises:
            EngineError: it cannot be loaded now.
        """
        with self._loading:
            try:
                backend = self._backend or self._load_again()
                run = backend.bind(image, *outputs)
            except PermanentError as error:  # it worked once: its device may come back
                raise EngineError(str(error)) from error
            run()
            return run, self.generation

    def lose(self, generation: int) -> None:
        """The engine of that generation has failed."""
        with self._loading:
            if generation == self.generation and self._backend is not None:
                self._backend.close()
                self._backend = None

    def close(self) -> None:
        """Let go of the model and its device, when no line uses it any more."""
        self.lose(self.generation)

    def _load(self) -> Backend:
        backend = self._load_backend(self.bundle, self.plan, self._settings)
        try:
            check_golden(backend, self.bundle)
        except BaseException as error:
            backend.close()
            if isinstance(error, EngineError) and self.plan.device == "cpu":
                raise BackendError(str(error)) from error  # not a device that comes back
            raise
        self._backend = backend
        self.generation += 1
        manifest = self.bundle.manifest
        log.info("model %s %s: %s (%s)", manifest.name, manifest.version, self.plan, self.why)
        return backend

    def _load_again(self) -> Backend:
        try:
            return self._load()
        except (BackendError, EngineError) as error:
            if not self._falls_back(error):
                raise
            return self._load()

    def _falls_back(self, error: Exception) -> bool:
        """Whether to go on with the CPU instead; if so it is what is loaded next."""
        asked = self._settings
        if not asked.fall_back_to_cpu or asked.device == "cpu" or self._fallen_back:
            return False
        log.warning("%s: falling back to the CPU, as engine.fall_back_to_cpu allows", error)
        self._fallen_back = True
        asked = replace(asked, backend="auto", device="cpu", precision="auto")
        self.plan, _ = choose(self.bundle, asked, lines=self._lines, cores=self._cores)
        self.why = "the device that was asked for has failed"
        return True


class Slot:
    """The input and the outputs of one line, and the way to run the model on them. Used by one thread.

    Attributes:
        input: (1, height, width, channels) uint8: write here, then call `infer`.
        outputs: as `Bundle.make_outputs` describes them, valid until the next `infer`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._generation = 0
        self._run: Run | None = None
        self._make(1)
        with contextlib.suppress(EngineError):  # it is told by the first `infer`
            self.restore()

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """(1, labels) float32 of a classifier: softmax values."""
        return self.outputs[0]

    def make_room(self, pictures: int) -> Image:
        """Arrays for so many pictures at a time, in place of those that were there; the new input.

        Raises:
            EngineError: the engine has failed; `restore` it.
        """
        if pictures != len(self.input):
            self._make(pictures)
            self.restore()
        return self.input

    def infer(self) -> None:
        """Run the model on what `input` holds and leave the result in `outputs`.

        Raises:
            EngineError: the engine failed; `restore` it before the next call.
        """
        if self._run is None:
            raise EngineError(self._why)
        try:
            self._run()
        except EngineError:
            self.engine.lose(self._generation)
            raise

    def restore(self) -> None:
        """Get an engine that has failed to work again.

        Raises:
            EngineError: it does not yet.
        """
        try:
            self._run, self._generation = self.engine.bind(self.input, *self.outputs)
        except EngineError as error:
            self._why = str(error)
            raise

    def _make(self, pictures: int) -> None:
        bundle = self.engine.bundle
        self.input: Image = np.zeros((pictures, *bundle.manifest.input.spec.shape[1:]), np.uint8)
        self.outputs = bundle.make_outputs(pictures)
        self._run = None
