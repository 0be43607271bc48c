"""Holds messages against the JSON Schemas that ship with the daemon; messages from the page that explains them."""

import functools
import json
import re
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "service/schemas"
PAGE = ROOT / "docs/messages.md"
NAMES = {"defects": "decision", "state": "state", "health": "health", "status": "status", "trigger": "trigger"}


@functools.cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def check(topic: str, message: dict[str, Any]) -> None:
    """Raise when a message on `topic` is not what its schema says."""
    validator(NAMES[topic.rsplit("/", 1)[-1]]).validate(message)


def kind_of(message: dict[str, Any]) -> str:
    """The name of its schema. A trigger is what others send: it names none."""
    return str(message["schema"]).split("/")[1] if "schema" in message else "trigger"


def examples(kind: str | None = None) -> list[dict[str, Any]]:
    """The messages of docs/messages.md, in its order: of one kind, or all."""
    blocks = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [message for message in map(json.loads, blocks) if kind in (None, kind_of(message))]
