"""From a payload that anybody may have sent to values that are safe to show."""

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]

MAX_BYTES = 256 * 1024
"""A hundred times the largest message that a line sends."""
MAX_TEXT = 200
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


class NotOursError(Exception):
    """A payload that edgecls did not send; the text says why."""


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """On one line, without anything that a terminal obeys: control and format characters become U+FFFD.

    Format characters (`Cf`) reverse the direction of writing and hide text; C1 controls are escape sequences, too.
    """
    kept = "".join(
        " " if char in "\t\n\r" else "\ufffd" if unicodedata.category(char) in _UNSAFE else char
        for char in text[: limit + 1]
    )
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def decode(payload: bytes) -> Any:
    """The JSON value of a payload.

    Raises:
        NotOursError: it is empty, too large, not UTF-8 or not JSON (which knows neither NaN nor Infinity).
    """
    if not payload:
        raise NotOursError("empty")
    if len(payload) > MAX_BYTES:
        raise NotOursError(f"larger than {MAX_BYTES // 1024} KiB")
    try:
        return json.loads(payload.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise NotOursError("not UTF-8") from error
    except ValueError as error:
        raise NotOursError("not JSON") from error
    except RecursionError as error:
        raise NotOursError("nested too deeply") from error


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def message_of(kind: str | None, value: Any) -> Json:
    """The message of a kind (decision, state, health, status), of whatever version. None: its topic is of no kind.

    Raises:
        NotOursError: it is none.
    """
    if kind is None:
        raise NotOursError("on a topic that edgecls does not use")
    if not isinstance(value, dict):
        raise NotOursError("not a JSON object")
    if not str(value.get("schema")).startswith(f"edgecls/{kind}/"):
        raise NotOursError(f"not a {kind} of edgecls")
    return value


def text_in(message: Mapping[str, Any], key: str) -> str:
    """The text there, safe to show; empty when there is none."""
    value = message.get(key)
    return clean(value) if isinstance(value, str) else ""


def number_in(message: Mapping[str, Any], key: str) -> float | None:
    """The number there; None when there is none."""
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15:
        return None
    return float(value)


def whole_in(message: Mapping[str, Any], key: str) -> int | None:
    """The whole number there; None when there is none."""
    value = number_in(message, key)
    return int(value) if value is not None and value.is_integer() else None


def section_in(message: Mapping[str, Any], key: str) -> Json:
    """The mapping there; empty when there is none."""
    value = message.get(key)
    return value if isinstance(value, dict) else {}


def moment_in(message: Mapping[str, Any], key: str) -> float | None:
    """The time there in seconds since 1970-01-01; None when there is none."""
    value = message.get(key)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
