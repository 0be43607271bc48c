"""The daemon: the one place where objects are made, and threads are started, named and stopped in order.

main                signals, systemd, heartbeat
capture-LINE        live sources: camera to mailbox
inspect-LINE        source or mailbox through the pipeline to `emit`
publish             outbox
mqtt                the connection to the broker
embedded-broker     only with `mqtt.host: embedded`
"""

import logging
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Literal

from systemd import daemon as systemd

from edge.bundle import load_bundle
from edge.clock import Clock, SystemClock
from edge.deciders import make_decider
from edge.decision import Decision, Trigger
from edge.engine import Engine
from edge.errors import PermanentError
from edge.pipeline import Pipeline
from edge.preprocess import Roi
from edge.sources import make_source
from edge.trigger import Triggers
from service.health import LineHealth, temperature_c
from service.line import Line
from service.line_settings import decide_settings, engine_settings, source_settings
from service.messages import ModelInfo, encode, health_message, state_message, status_message, trigger_id
from service.mqtt import Incoming, MqttConnection, Will
from service.outbox import Outbox
from service.publisher import IN_FLIGHT, Publisher, Retained
from service.sections import LineSection, Settings

log = logging.getLogger(__name__)

HEARTBEAT_S = 10
TTL_S = 3 * HEARTBEAT_S
DRAIN_S = 10.0
FIRST_CONNECTION_S = 1.0
TICK_S = 0.2


@dataclass(slots=True)
class _Managed:
    """A line and what is kept beside it."""

    line: Line
    health: LineHealth = field(default_factory=LineHealth)


class Daemon:
    """All lines of one configuration.

    Args:
        settings: read and checked.
        stop: set when it is to end; see `stop_on_signals`.
        clock: the time.

    Raises:
        EdgeError: a bundle, an engine, the outbox or a certificate cannot be used.
    """

    def __init__(self, settings: Settings, stop: threading.Event, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._stop = stop
        self._asked: deque[int] = deque()
        """When triggers came by SIGUSR1; UTC, nanoseconds."""
        self._topics = {line.name: line.topic for line in settings.lines}
        # Before the engines are loaded: who tries things out has the time to subscribe before the first message.
        self._stop_broker = _start_embedded_broker(settings)
        lines_of = Counter(settings.model_of(section) for section in settings.lines)
        bundles = {path: load_bundle(path) for path in lines_of}
        outbox = Outbox(Path(settings.outbox.path), settings.outbox.max_mib * 1024 * 1024)
        self._publisher = Publisher(settings.node, outbox, self._clock, [line.name for line in settings.lines])
        self._connection = MqttConnection(
            settings.mqtt,
            f"edgecls-{settings.node}",
            Will(self._status_topic, self._status("offline")),
            IN_FLIGHT,
            self._publisher.wake,
        )
        asked = engine_settings(settings.engine)
        engines = {path: Engine(bundles[path], asked, lines=lines) for path, lines in lines_of.items()}
        self._lines = [self._make_line(section, engines[settings.model_of(section)]) for section in settings.lines]

    def run(self) -> int:
        """Inspect until told to stop, or until every source has ended. The exit status: 0, or 1 when something failed.

        When told to stop, every line ends after the frame at hand, and what is left is sent.

        Raises:
            EdgeError: the embedded broker cannot start.
        """
        if any(managed.line.triggers for managed in self._lines):
            signal.signal(signal.SIGUSR1, self._signalled)
        self._publisher.start(self._connection, self._births, self._outbox_changed)
        # A broker that is there gets the very first decision in time; one that is not holds nothing up.
        self._connection.wait_for_the_first(FIRST_CONNECTION_S)
        for managed in self._lines:
            managed.line.start()
        systemd.notify(f"READY=1\nSTATUS=inspecting {len(self._lines)} line(s)")
        try:
            self._watch()
        finally:
            systemd.notify("STOPPING=1")
            for managed in self._lines:
                managed.line.stop()
            while any(managed.line.is_alive for managed in self._lines):
                self._answer_triggers()  # a line that hangs must not keep those who wait for an answer
                self._clock.sleep(TICK_S / 10)
            for managed in self._lines:
                managed.line.join()
            self._answer_triggers()
            left = self._publisher.stop(self._farewell(), DRAIN_S, patient=lambda: not self._stop.is_set())
            self._stop_broker()
        failed = any(managed.line.failed for managed in self._lines)
        if left:
            log.warning(
                "%d decisions were not acknowledged by broker %s: they are kept in %s and sent after the next start",
                left,
                self._connection.where,
                self._settings.outbox.path,
            )
        return 1 if failed or (left and not self._stop.is_set()) else 0

    def _watch(self) -> None:
        """The main thread while the lines work: heartbeats to MQTT and to systemd."""
        next_beat_ns = 0
        while not self._stop.wait(TICK_S):
            if self._publisher.is_alive:
                systemd.notify("WATCHDOG=1")
            now_ns = self._clock.monotonic_ns()
            if now_ns >= next_beat_ns:
                next_beat_ns = now_ns + HEARTBEAT_S * 1_000_000_000
                for managed in self._lines:
                    self._publisher.retain(self._state(managed.line))
                    self._publisher.retain(self._health(managed))
            self._answer_triggers()
            if not any(managed.line.is_alive for managed in self._lines):
                return

    def _make_line(self, section: LineSection, engine: Engine) -> _Managed:
        bundle = engine.bundle
        decide = decide_settings(section, bundle)
        decider = make_decider(decide, bundle.manifest.pass_label, bundle.manifest.absent_label)
        pipeline = Pipeline(
            slot=engine.slot(),
            decider=decider,
            clock=self._clock,
            roi=Roi(*section.roi) if section.roi else None,
        )
        models = {p: ModelInfo(bundle.manifest.name, bundle.manifest.version, p) for p in bundle.precisions}
        topic = f"{section.topic}/defects"

        def emit(decision: Decision) -> None:
            model = models[engine.precision]
            if decision.trigger is not None:  # who asks gets an answer, a pass too
                asked = decision.trigger
                self._publisher.emit(decision, asked.reply_topic or topic, model, asked.correlation)
            elif section.publish == "all" or decision.ruling.verdict != "pass":
                self._publisher.emit(decision, topic, model)

        source = make_source(section.name, source_settings(section), self._clock)
        line = Line(
            section.name,
            source=source,
            pipeline=pipeline,
            emit=emit,
            on_change=self._state_changed,
            clock=self._clock,
            trigger_timeout_s=decide.timeout_s if decide.per == "trigger" else None,
        )
        triggers = line.triggers
        if triggers is not None:
            self._connection.subscribe(
                f"{section.topic}/trigger", lambda message: self._triggered(triggers, line, message)
            )
        return _Managed(line)

    def _triggered(self, triggers: Triggers, line: Line, message: Incoming) -> None:
        """Somebody asks for a decision. Called in the thread `mqtt`."""
        now_ns = self._clock.now_ns()
        reply_topic = message.response_topic
        if reply_topic is not None and self._is_ours(reply_topic):
            log.warning("line %s: a trigger asks for an answer on %s, which is not for answers", line.name, reply_topic)
            reply_topic = None
        triggers.add(Trigger(now_ns, trigger_id(message.payload), reply_topic, message.correlation))

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.append(self._clock.now_ns())  # no lock is taken in a signal handler

    def _is_ours(self, topic: str) -> bool:
        """Whether others rely on what we say there: an answer must not stand among the states."""
        kept = {f"{line}/{kind}" for line in self._topics.values() for kind in ("state", "health", "trigger")}
        return topic in kept or topic.startswith("edgecls/")

    def _answer_triggers(self) -> None:
        """Pass on those that came by signal, and answer those whose time is up: the inspecting thread may hang."""
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        for line in (managed.line for managed in self._lines):
            if line.triggers is None:
                continue
            for received_at_ns in asked:
                line.triggers.add(Trigger(received_at_ns))
            if not line.is_alive:
                line.triggers.close(f"line {line.name} has ended: {line.status.reason}")
            line.triggers.expire(line.status.reason)

    @property
    def _status_topic(self) -> str:
        return f"edgecls/{self._settings.node}/status"

    def _status(self, status: Literal["online", "offline"]) -> bytes:
        message = status_message(
            node=self._settings.node,
            status=status,
            now_ns=self._clock.now_ns(),
            version=version("edgecls"),
            lines=self._topics,
        )
        return encode(message)

    def _births(self) -> list[Retained]:
        status = Retained(self._status_topic, self._status("online"), qos=1)
        return [status, *(self._state(managed.line) for managed in self._lines)]

    def _farewell(self) -> list[Retained]:
        states = [self._state(managed.line) for managed in self._lines]
        return [*states, Retained(self._status_topic, self._status("offline"), qos=1)]

    def _outbox_changed(self) -> None:
        for managed in self._lines:
            self._publisher.retain(self._state(managed.line))

    def _state_changed(self, line: Line) -> None:
        self._publisher.retain(self._state(line))

    def _state(self, line: Line) -> Retained:
        message = state_message(
            node=self._settings.node,
            line=line.name,
            state=line.status.state,
            reason=line.status.reason or self._publisher.problem,
            since_ns=line.status.since_ns,
            now_ns=self._clock.now_ns(),
            counts=line.counts,
            evicted=self._publisher.evicted.get(line.name, 0),
            ttl_s=TTL_S,
        )
        return Retained(f"{self._topics[line.name]}/state", encode(message), qos=1, expiry_s=TTL_S)

    def _health(self, managed: _Managed) -> Retained:
        counts = managed.line.counts
        message = health_message(
            node=self._settings.node,
            line=managed.line.name,
            now_ns=self._clock.now_ns(),
            fps=managed.health.fps(counts.frames, self._clock.monotonic_ns()),
            latency_ms=managed.line.take_latencies(),
            dropped=counts.dropped,
            queue=self._publisher.backlog,
            temperature=temperature_c(),
        )
        return Retained(f"{self._topics[managed.line.name]}/health", encode(message), qos=0, expiry_s=TTL_S)


def _start_embedded_broker(settings: Settings) -> Callable[[], None]:
    """Start it when the configuration asks for one; how to stop it again."""
    if settings.mqtt.host != "embedded":
        return lambda: None
    try:
        from service.embedded_broker import EmbeddedBroker  # noqa: PLC0415  # an extra: only when it is asked for
    except ImportError as error:
        raise PermanentError(
            f"mqtt.host: embedded needs the package amqtt ({error}): install edgecls[embedded], or name a real broker"
        ) from error
    log.warning("the embedded broker keeps nothing and checks nobody: for trying things out only")
    broker = EmbeddedBroker(settings.mqtt.port_or_default)
    broker.start()
    return broker.stop


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set. To be called from the main thread."""
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a trigger that comes too early must not kill it
    return stop
