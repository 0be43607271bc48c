"""From a configuration to lines that can be started, and to the engines that they share."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.ahead import Ahead
from edge.backends import Backend, EngineSettings, Plan
from edge.bundle import Bundle, load_bundle
from edge.clock import Clock
from edge.deciders import make_decider
from edge.decision import Decision
from edge.engine import Engine
from edge.errors import PermanentError
from edge.pipeline import Pipeline
from edge.preprocess import Roi
from edge.reference import Reference, read_reference
from edge.sources import make_source
from edge.stills import About, Stills
from edge.trust import Trust
from service.evidence.store import EvidenceStore
from service.health import LineHealth
from service.line import Line
from service.line_settings import (
    decide_settings,
    engine_settings,
    may_look_ahead,
    source_settings,
    trust_settings,
)
from service.messages import ModelInfo
from service.publisher import Publisher
from service.sections import LineSection, Settings, reference_of

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Inferences of a line that looks ahead, when it has the device to itself: several lines fill the cores anyway."""

Load = Callable[[Bundle, Plan, EngineSettings], Backend]


@dataclass(frozen=True, slots=True, eq=False)
class Managed:
    """A line and what is kept beside it."""

    section: LineSection
    engine: Engine
    line: Line
    taken_ns: int | None = None
    """When its reference picture was written, None without one: another picture is another line."""
    health: LineHealth = field(default_factory=LineHealth)


@dataclass(frozen=True, slots=True)
class Lines:
    """All that one configuration asks for."""

    settings: Settings
    engines: Mapping[Path, Engine]
    """By the path of their bundle."""
    managed: tuple[Managed, ...]


class LineMaker:
    """Makes lines; it starts none.

    Args:
        publisher: takes their decisions.
        evidence: keeps pictures of what they reject.
        clock: the time.
        on_change: called when the state of a line changes, from the line's own thread.
        load: what loads models.
        on_decision: told every decision, passes too, from the line's own thread; it does not wait.
    """

    def __init__(
        self,
        publisher: Publisher,
        evidence: EvidenceStore,
        clock: Clock,
        on_change: Callable[[Line], None],
        load: Load,
        *,
        on_decision: Callable[[Decision], None] | None = None,
    ) -> None:
        self._publisher = publisher
        self._evidence = evidence
        self._clock = clock
        self._on_change = on_change
        self._load = load
        self._on_decision = on_decision

    def make(self, settings: Settings, stop: threading.Event, before: Lines | None = None) -> Lines:
        """Everything that the configuration asks for. When `stop` is set meanwhile, only a part of it.

        What is the same as before is taken over: a line with its settings and its engine, an engine with its settings
        and the content of its bundle.

        Args:
            settings: read and checked.
            stop: set when there is no need any more.
            before: what runs now.

        Raises:
            EdgeError: a bundle or an engine cannot be used, or does not fit a line; nothing is left behind.
        """
        engines: dict[Path, Engine] = {}
        try:
            for path, count in Counter(settings.model_of(section) for section in settings.lines).items():
                if stop.is_set():
                    break
                engines[path] = self._engine(path, count, settings, before)
            managed = [
                self._line(section, engine, settings, before)
                for section in settings.lines
                if (engine := engines.get(settings.model_of(section)))
            ]
        except BaseException:
            let_go(engines, before.engines if before else {})
            raise
        return Lines(settings, engines, tuple(managed))

    def _engine(self, path: Path, lines: int, settings: Settings, before: Lines | None) -> Engine:
        bundle = load_bundle(path)
        running = before.engines.get(path) if before and before.settings.engine == settings.engine else None
        # model.json has the hash of every other file: when it says the same, all is the same.
        if running is not None and running.bundle.manifest == bundle.manifest:
            return running
        if _looks_ahead(settings, bundle):
            lines = AT_ONCE
        return Engine(bundle, engine_settings(settings.engine), lines=lines, load=self._load)

    def _line(self, section: LineSection, engine: Engine, settings: Settings, before: Lines | None) -> Managed:
        taken_ns = _written_ns(reference_of(section))
        for running in before.managed if before else ():
            same = running.section == section and running.engine is engine and running.taken_ns == taken_ns
            if same and not running.line.failed:
                return running
        bundle = engine.bundle
        roi = Roi(*section.roi) if section.roi else None
        decide = decide_settings(section, bundle)
        stills = self._stills(section.name, bundle, roi)
        decider = make_decider(decide, bundle.manifest.pass_label, bundle.manifest.absent_label, stills)
        pipeline = Pipeline(
            slot=engine.slot(),
            decider=decider,
            clock=self._clock,
            roi=roi,
            min_area=decide.min_area,
            stills=stills,
        )
        ahead = _looks_ahead(settings, bundle) and engine.plan.device == "cpu" and engine.plan.streams > 1
        records = Path(settings.outbox.path).parent
        source = make_source(section.name, source_settings(section, records), self._clock)
        line = Line(
            section.name,
            source=source,
            pipeline=pipeline,
            emit=self._emit(section, engine),
            on_change=self._on_change,
            clock=self._clock,
            trust=Trust(trust_settings(section), live=source.live, reference=_reference(section)),
            withhold=section.trust.while_blind == "withhold",
            looks_ahead=Ahead(engine, roi, self._clock) if ahead else None,
            trigger_timeout_s=decide.timeout_s if decide.per == "trigger" else None,
        )
        return Managed(section, engine, line, taken_ns)

    def _stills(self, line: str, bundle: Bundle, roi: Roi | None) -> Stills:
        about = About(bundle.labels, (roi.x, roi.y, roi.width, roi.height) if roi else None)
        return Stills(about, lambda: self._evidence.wants(line))

    def _emit(self, section: LineSection, engine: Engine) -> Callable[[Decision], None]:
        bundle = engine.bundle
        models = {p: ModelInfo(bundle.manifest.name, bundle.manifest.version, p) for p in bundle.precisions}
        topic = f"{section.topic}/defects"

        def emit(decision: Decision) -> None:
            model = models[engine.precision]
            if self._on_decision is not None:
                self._on_decision(decision)
            if decision.trigger is not None:  # who asks gets an answer, a pass too
                asked = decision.trigger
                self._publisher.emit(decision, asked.reply_topic or topic, model, asked.correlation)
            elif section.publish == "all" or decision.ruling.verdict != "pass":
                self._publisher.emit(decision, topic, model)

        return emit


def _looks_ahead(settings: Settings, bundle: Bundle) -> bool:
    """Whether there is one line, and it may."""
    return len(settings.lines) == 1 and may_look_ahead(settings.lines[0], bundle)


def _written_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _reference(section: LineSection) -> Reference | None:
    """A picture that cannot be used must not keep the line from inspecting."""
    try:
        reference = read_reference(reference_of(section))
    except PermanentError as error:
        log.error("line %s: %s; `moved` and `covered` are not judged", section.name, error)  # noqa: TRY400  # the sentence says it
        return None
    if reference is None:
        text = "line %s: no reference picture, `moved` and `covered` are not judged: edgecls reference %s"
        log.info(text, section.name, section.name, extra={"line": section.name})
    return reference


def let_go(engines: Mapping[Path, Engine], still_used: Mapping[Path, Engine]) -> None:
    """Close the engines that are not among those that are still used."""
    kept = {id(engine) for engine in still_used.values()}
    for engine in engines.values():
        if id(engine) not in kept:
            engine.close()
