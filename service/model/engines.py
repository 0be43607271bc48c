"""Which of the installed engines answer the golden inputs of a bundle as they should."""

from dataclasses import asdict, dataclass

from edge.backends import BACKENDS, BackendName, EngineSettings, Plan, check_golden, devices, load_backend
from edge.bundle import Bundle, Precision
from edge.errors import EdgeError


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one engine, on the CPU.

    Attributes:
        difference: the largest one of a score; None: it did not answer as it should, or is not there.
        allowed: how large it may be.
        problem: why there is no difference.
        installed: whether the engine is.
    """

    backend: BackendName
    precision: Precision
    difference: float | None
    allowed: float
    problem: str = ""
    installed: bool = True

    def __str__(self) -> str:
        name = f"{self.precision} on {self.backend}"
        if self.difference is None:
            return f"{name}: {self.problem}"
        return f"{name}: scores as they should be, {self.difference:.1g} off at most ({self.allowed:g} allowed)"

    def document(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def answers(bundle: Bundle) -> list[Answer]:
    """Of every backend and each precision that the bundle has a file for with it."""
    found = []
    for backend in BACKENDS:
        for precision in bundle.precisions_for(backend):
            _scores, allowed = bundle.golden_scores(precision, backend)
            if "cpu" not in devices(backend):
                found.append(Answer(backend, precision, None, allowed, "not installed", installed=False))
                continue
            plan = Plan(backend, "cpu", precision)
            try:
                engine = load_backend(bundle, plan, EngineSettings(backend, "cpu", precision))
                difference = check_golden(engine, bundle)
            except EdgeError as error:
                found.append(Answer(backend, precision, None, allowed, str(error)))
            else:
                found.append(Answer(backend, precision, round(difference, 7), allowed))
    return found
