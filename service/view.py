"""The daemon as those see it who only look: the status page and the metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.evidence.store import EvidenceStore
from service.lines import Managed
from service.mqtt import MqttConnection
from service.publisher import Publisher


@dataclass(frozen=True, slots=True)
class View:
    """What there is to look at; any thread may read it.

    Attributes:
        node: this device's name.
        version: of edgecls.
        lines: the lines that there are now; another configuration may bring others.
        publisher: what waits for the broker.
        connection: to the broker.
        evidence: the pictures of rejects.
        outbox: its file.
    """

    node: str
    version: str
    lines: Callable[[], Sequence[Managed]]
    publisher: Publisher
    connection: MqttConnection
    evidence: EvidenceStore
    outbox: Path
