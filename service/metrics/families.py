"""Every metric: its name, what it is, its labels. In base units, with the endings that Prometheus asks for."""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """One metric. A counter's name is given without its `_total`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


FAMILIES = (
    Family("edgecls_info", "gauge", "Always 1: which edgecls this is.", ("node", "version")),
    Family(
        "edgecls_line_info",
        "gauge",
        "Always 1: what decides on the line.",
        ("line", "topic", "model", "model_version", "precision", "backend"),
    ),
    Family("edgecls_line_state", "gauge", "1 for the state that the line has, 0 for the others.", ("line", "state")),
    Family("edgecls_line_state_since_timestamp_seconds", "gauge", "When the line got its state.", ("line",)),
    Family("edgecls_frames", "counter", "Frames inspected.", ("line",)),
    Family("edgecls_bad_frames", "counter", "Frames that could not be read.", ("line",)),
    Family("edgecls_dropped_frames", "counter", "Frames that a newer one replaced before inspection.", ("line",)),
    Family("edgecls_source_losses", "counter", "How often a source that had frames had none any more.", ("line",)),
    Family(
        "edgecls_decisions", "counter", "Decisions; label is empty without a picture.", ("line", "verdict", "label")
    ),
    Family("edgecls_withheld_decisions", "counter", "Decisions not told, for the line was blind.", ("line",)),
    Family("edgecls_evicted_decisions", "counter", "Decisions given up, for outbox or memory were full.", ("line",)),
    Family("edgecls_stage_seconds", "histogram", "Time that a stage takes of each frame.", ("line", "stage")),
    Family(
        "edgecls_acknowledged_seconds",
        "histogram",
        "From the capture of a frame until the broker had acknowledged the decision on it.",
        ("line",),
    ),
    Family("edgecls_outbox_messages", "gauge", "Decisions that the broker has not acknowledged."),
    Family("edgecls_outbox_failed", "gauge", "1 while the outbox cannot be written."),
    Family("edgecls_outbox_free_bytes", "gauge", "What is free on the disk of the outbox."),
    Family("edgecls_broker_connected", "gauge", "1 while there is a connection to the broker."),
    Family("edgecls_broker_connections", "counter", "Connections to the broker that were made."),
    Family("edgecls_evidence_kept", "counter", "Pictures of rejects and reviews that were kept.", ("line",)),
    Family(
        "edgecls_evidence_unkept",
        "counter",
        "Pictures that were not kept: busy, rate, disk, size.",
        ("line", "reason"),
    ),
    Family("edgecls_evidence_pictures", "gauge", "Pictures that lie in the folder."),
    Family("edgecls_evidence_bytes", "gauge", "What they take up on disk."),
    Family("edgecls_evidence_failed", "gauge", "1 while the folder cannot be written."),
    Family("edgecls_temperature_celsius", "gauge", "Of the sensors of the device.", ("sensor",)),
    Family("edgecls_throttled", "gauge", "1 while a Raspberry Pi slows down for this.", ("cause",)),
    Family("edgecls_minor_page_faults", "counter", "Pages of fresh memory that the process was given."),
)
