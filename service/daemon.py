"""The daemon: the one place where objects are made, and threads are started, named and stopped in order.

main                signals, systemd, heartbeat
capture-LINE        files: source to mailbox
inspect-LINE        live source or mailbox through the pipeline to `emit`
publish             outbox
evidence            pictures of rejects and reviews to the disk
mqtt                the connection to the broker
reload              while a new configuration is made ready
embedded-broker     only with `mqtt.host: embedded`
http                only with `http`: the status page
"""

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edge.backends import load_backend
from edge.clock import Clock
from edge.decision import Trigger
from edge.errors import PermanentError
from edge.stills import Still
from edge.trigger import Triggers
from service.announcer import HEARTBEAT_S, Announcer, topics_of
from service.evidence.store import EvidenceSettings, EvidenceStore
from service.line import Line
from service.lines import LineMaker, Load, Managed
from service.log import log_decision, tell_what_was_left_out
from service.messages import Json, trigger_id
from service.mqtt import Incoming, MqttConnection, Will
from service.orders import Orders
from service.outbox import Outbox
from service.page.node import Node
from service.page.start import shift_for, start_page
from service.publisher import IN_FLIGHT, Publisher, Retained
from service.reload import Reload
from service.sections import Settings
from service.status import status_text
from service.systemd import Systemd
from service.view import View

if TYPE_CHECKING:
    from service.page.server import Server

log = logging.getLogger(__name__)

LINES_END_S = 5.0
"""For the frame at hand; a line that takes longer hangs."""
DRAIN_S = 10.0
MIB = 1024 * 1024
OUTBOX_OVERHEAD_MIB = 16
"""Beside the stored decisions: the write-ahead log, and the file while it is rescued."""
EVIDENCE_S = 3.0
"""For the last pictures; a disk that takes longer hangs."""
FIRST_CONNECTION_S = 1.0
TICK_S = 0.2


class Daemon:
    """All lines of one configuration.

    Args:
        settings: read and checked.
        orders: what people ask of it while it runs.
        clock: the time.
        read: reads and checks the configuration again, for a reload.
        load: what loads models.

    Raises:
        EdgeError: a bundle, an engine, the outbox or a certificate cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        orders: Orders,
        clock: Clock,
        *,
        read: Callable[[], Settings],
        load: Load = load_backend,
    ) -> None:
        self._clock = clock
        self._orders = orders
        self._read = read
        self._note = ""
        """What systemd is told besides the states."""
        self._hang = ""
        self._shown: tuple[object, ...] = ()
        self._reload: Reload | None = None
        self._systemd = Systemd(clock)
        self._systemd.status("loading models")
        # Before the engines are loaded: who tries things out has the time to subscribe before the first message.
        self._stop_broker = _start_embedded_broker(settings)
        self._outbox = Outbox(Path(settings.outbox.path), settings.outbox.max_mib * MIB)
        self._evidence = EvidenceStore(_evidence_settings(settings), clock, self._publish_picture, self._tell_states)
        lines = [line.name for line in settings.lines]
        self._publisher = Publisher(settings.node, self._outbox, clock, lines, self._decided)
        self._announcer = Announcer(settings.node, self._publisher, self._evidence, clock)
        offline = self._announcer.status("offline", {line.name: line.topic for line in settings.lines})
        self._connection = MqttConnection(
            settings.mqtt,
            f"edgecls-{settings.node}",
            Will(self._announcer.status_topic, offline),
            IN_FLIGHT,
            self._publisher.wake,
        )
        self._shift = shift_for(settings, clock)
        self._page: Server | None = None
        told = self._shift.count if self._shift else None
        self._maker = LineMaker(self._publisher, self._evidence, clock, self._state_changed, load, on_decision=told)
        self._lines = self._maker.make(settings, orders.stop)

    def run(self) -> int:
        """Inspect until told to stop, or until every source has ended. The exit status: 0, or 1 when something failed.

        When told to stop, every line ends after the frame at hand, and what is left is sent.

        Raises:
            EdgeError: the embedded broker cannot start.
        """
        if self._orders.stop.is_set():  # before there was anything to stop
            self._connection.stop()
            self._outbox.close()
            self._stop_broker()
            return 0
        self._orders.triggers.clear()  # they came too early for a picture
        for managed in self._managed:
            self._listen_to_triggers(managed)
        self._publisher.start(self._connection, lambda: self._announcer.births(self._managed), self._tell_states)
        self._evidence.start()
        self._systemd.ready()
        # A broker that is there gets the very first decision in time; one that is not holds nothing up.
        self._connection.wait_for_the_first(FIRST_CONNECTION_S)
        for managed in self._managed:
            managed.line.start()
        self._page = self._start_page()
        try:
            self._watch()
        finally:
            self._systemd.stopping()
            if self._page is not None:
                self._page.stop()
            self._end_lines()
            left = self._publisher.stop(self._announcer.farewell(self._managed), DRAIN_S, patient=self._patient)
            self._evidence.stop(EVIDENCE_S)
            self._stop_broker()
        failed = any(managed.line.failed for managed in self._managed) or self.hangs
        if left:
            log.warning(
                "%d decisions were not acknowledged by broker %s: they are kept in %s and sent after the next start",
                left,
                self._connection.where,
                self._lines.settings.outbox.path,
            )
        return 1 if failed or (left and not self._orders.stop.is_set()) else 0

    @property
    def hangs(self) -> bool:
        """Whether a thread did not end, so that the process will not end of itself."""
        preparing = self._reload is not None and self._reload.is_preparing
        page = self._page is not None and self._page.hangs
        return preparing or page or any(managed.line.is_alive for managed in self._every)

    @property
    def view(self) -> View:
        """What there is to look at."""
        return View(
            self._lines.settings.node,
            version("edgecls"),
            lambda: self._managed,
            self._publisher,
            self._connection,
            self._evidence,
            Path(self._lines.settings.outbox.path),
        )

    @property
    def _managed(self) -> tuple[Managed, ...]:
        """The lines that there are to be."""
        return self._lines.managed

    @property
    def _every(self) -> list[Managed]:
        """With those that are on their way out."""
        leaving = self._reload.leaving if self._reload is not None else []
        return [*self._managed, *(managed for managed in leaving if managed not in self._managed)]

    def _start_page(self) -> "Server | None":
        """When the lines are at work already: inspection does not wait for it."""
        settings = self._lines.settings
        if settings.http is None or self._shift is None:
            return None
        node = Node(settings, self.view, self._shift, lambda: self._hang, lambda: self._note, self._clock)
        return start_page(settings.http, node)

    def _watch(self) -> None:
        """The main thread while the lines work: heartbeats to MQTT and to systemd."""
        next_beat_ns = 0
        while not self._orders.stop.wait(TICK_S):
            self._step_reload()
            now_ns = self._clock.monotonic_ns()
            beats = now_ns >= next_beat_ns
            if beats:
                next_beat_ns = now_ns + HEARTBEAT_S * 1_000_000_000
                for managed in self._managed:
                    self._announcer.heartbeat(managed)
                tell_what_was_left_out()
            self._feed_the_watchdog()
            self._tell_systemd(beats)
            self._answer_triggers()
            if self._reload is None and not any(managed.line.is_alive for managed in self._managed):
                return

    def _end_lines(self) -> None:
        """After the frame at hand; one that hangs is left behind."""
        for managed in self._every:
            managed.line.stop()
        give_up_ns = self._clock.monotonic_ns() + int(LINES_END_S * 1e9)
        while any(managed.line.is_alive for managed in self._every) and self._clock.monotonic_ns() < give_up_ns:
            self._answer_triggers()  # a line that hangs must not keep those who wait for an answer
            self._clock.sleep(TICK_S / 10)
        self._answer_triggers()
        for managed in self._every:
            if managed.line.is_alive:
                name = managed.line.name
                log.error("line %s does not end: going on without it", name, extra={"line": name})
            if managed.line.triggers is not None:
                managed.line.triggers.close("edgecls is stopping")

    def _patient(self) -> bool:
        """Whether everything is to be sent, however long it takes: nobody waits for the end."""
        if self._orders.stop.is_set():
            return False
        self._systemd.extend(2 * DRAIN_S)
        return True

    def _feed_the_watchdog(self) -> None:
        """Only while all threads are alive, and each gets on or waits for something that may take long."""
        hanging = [f"line {managed.line.name}: {hang}" for managed in self._every if (hang := managed.line.hang)]
        if hang := self._publisher.hang:
            hanging.append(f"thread publish: {hang}")
        threads = {"publish": self._publisher.is_alive, "mqtt": self._connection.is_alive}
        hanging += [f"thread {name} has died" for name, alive in threads.items() if not alive]
        if not hanging:
            self._systemd.feed()
        elif not self._hang:
            log.error("%s: systemd's watchdog is not fed any more, to start edgecls again", "; ".join(hanging))
        self._hang = "; ".join(hanging)

    def _tell_systemd(self, beats: bool) -> None:
        """At once when something else happens, and with the heartbeat: figures change all the time."""
        states = [(m.line.name, m.line.status, m.line.hang is None) for m in self._managed]
        page = self._page.problem if self._page is not None else ""
        note = "; ".join(text for text in (self._evidence.problem, self._note, page) if text)
        shown = (states, self._connection.connected, self._publisher.problem, note)
        if beats or shown != self._shown:
            self._shown = shown
            self._systemd.status(status_text(self._managed, self._connection, self._publisher, note))

    def _step_reload(self) -> None:
        """One step: a reload must not keep the main thread from what others wait for."""
        reload = self._reload
        if reload is None:
            if self._orders.reload.is_set():
                self._orders.reload.clear()
                self._systemd.reloading()
                log.info("reading the configuration again")
                self._reload = Reload(self._read, self._maker, self._lines, self._orders.stop)
            return
        if reload.is_preparing or self._orders.stop.is_set():
            return
        if reload.after is not None and self._lines is not reload.after:
            self._lines = reload.after
            self._begin_exchange(reload)
        if any(managed.line.is_alive for managed in reload.leaving):
            return
        self._finish_reload(reload)

    def _begin_exchange(self, reload: Reload) -> None:
        for managed in reload.leaving:
            managed.line.stop()
            if managed.line.triggers is not None:
                self._connection.unsubscribe(f"{managed.section.topic}/trigger")
        for managed in reload.arriving:
            self._listen_to_triggers(managed)  # those that come from now on wait for the new line

    def _finish_reload(self, reload: Reload) -> None:
        topics = set(topics_of(self._managed).values())
        for managed in reload.leaving:
            if managed.section.topic not in topics:
                self._announcer.removed(managed)
            if managed.line.triggers is not None:
                managed.line.triggers.close(f"line {managed.line.name} has ended")
        for managed in reload.arriving:
            managed.line.start()
            self._announcer.state(managed)
        self._announcer.online(self._managed)
        reload.finish()
        for problem in reload.problems:
            log.error("%s", problem)
        self._note = reload.outcome if reload.problems or reload.later else ""
        log.log(logging.ERROR if reload.problems else logging.INFO, "%s", reload.outcome)
        self._systemd.ready()
        self._reload = None

    def _listen_to_triggers(self, managed: Managed) -> None:
        triggers, line = managed.line.triggers, managed.line
        if triggers is not None:
            topic = f"{managed.section.topic}/trigger"
            self._connection.subscribe(topic, lambda message: self._triggered(triggers, line, message))

    def _triggered(self, triggers: Triggers, line: Line, message: Incoming) -> None:
        """Somebody asks for a decision. Called in the thread `mqtt`."""
        now_ns = self._clock.now_ns()
        reply_topic = message.response_topic
        if reply_topic is not None and self._is_ours(reply_topic):
            text = "line %s: a trigger asks for an answer on %s, which is not for answers"
            log.warning(text, line.name, reply_topic, extra={"line": line.name})
            reply_topic = None
        triggers.add(Trigger(now_ns, trigger_id(message.payload), reply_topic, message.correlation))

    def _is_ours(self, topic: str) -> bool:
        """Whether others rely on what we say there: an answer must not stand among the states."""
        lines = topics_of(self._managed).values()
        kept = {f"{line}/{kind}" for line in lines for kind in ("state", "health", "trigger")}
        return topic in kept or topic.startswith("edgecls/")

    def _answer_triggers(self) -> None:
        """Pass on those that came by signal, and answer those whose time is up: the inspecting thread may hang."""
        asked = [self._orders.triggers.popleft() for _ in range(len(self._orders.triggers))]
        for line in (managed.line for managed in self._every):
            if line.triggers is None:
                continue
            for received_at_ns in asked:
                line.triggers.add(Trigger(received_at_ns))
            if not line.is_alive and line.has_begun:
                line.triggers.close(f"line {line.name} has ended: {line.status.reason}")
            line.triggers.expire(line.status.reason)

    def _tell_states(self) -> None:
        for managed in self._managed:
            self._announcer.state(managed)

    def _decided(self, message: Json, still: Still | None) -> None:
        """Called in the thread `publish`."""
        log_decision(message)
        self._evidence.offer(message, still)

    def _publish_picture(self, line: str, picture: bytes) -> None:
        """Called in the thread `evidence`."""
        topic = next((m.section.topic for m in self._managed if m.line.name == line), None)
        if topic is not None:
            self._publisher.retain(Retained(f"{topic}/defects/image", picture, qos=0, content_type="image/jpeg"))

    def _state_changed(self, line: Line) -> None:
        for managed in self._every:
            if managed.line is line:
                self._announcer.state(managed)


def _evidence_settings(settings: Settings) -> EvidenceSettings:
    section = settings.evidence
    return EvidenceSettings(
        settings.evidence_path,
        max_bytes=section.max_mib * MIB,
        per_hour=section.max_writes_per_hour,
        quality=section.quality,
        publish=section.publish,
        reserve_bytes=(settings.outbox.max_mib + OUTBOX_OVERHEAD_MIB) * MIB,
    )


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
