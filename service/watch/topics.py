"""What to subscribe to."""

import re
from collections.abc import Callable

from paho.mqtt.client import topic_matches_sub

PER_LINE = ("defects", "state", "health")
STATUS = "edgecls/+/status"


def valid_filter(text: str) -> bool:
    """Whether a broker takes this as a topic with wildcards: + and # alone in a level, # only last."""
    level = r"([^+#\x00-\x1f\x7f]*|\+)"
    return (
        bool(re.fullmatch(rf"(#|{level}(/{level})*(/#)?)", text)) and 0 < len(text.encode("utf-8", "replace")) < 65_000
    )


def filters_of(topic: str) -> list[str]:
    """The subscriptions for `factory/line1`, `factory/+`, `factory/#`, or the full topic of one kind of message."""
    if topic.endswith("#") or topic.rpartition("/")[2] in (*PER_LINE, "status"):
        filters = [topic]
    else:
        filters = [f"{topic}/{kind}" for kind in PER_LINE]
    # A status comes last, when the lines that it speaks of are known. No second time when it is among them already.
    covered = any(topic_matches_sub(one, STATUS.replace("+", "a")) for one in filters)
    return filters if covered else [*filters, STATUS]


def wanted_by(filters: list[str]) -> Callable[[str], bool]:
    """Whether a line with this topic, which a device named, is among what is subscribed to."""
    return lambda topic: (
        valid_topic(topic) and any(topic_matches_sub(one, f"{topic}/{kind}") for one in filters for kind in PER_LINE)
    )


def valid_topic(topic: str) -> bool:
    """Whether this can be the topic of a line: no wildcards, short enough to subscribe to."""
    return valid_filter(topic) and not re.search(r"[+#]", topic) and len(topic) < 1000
