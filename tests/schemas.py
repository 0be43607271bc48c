"""Holds messages against the JSON Schemas that ship with the daemon."""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).resolve().parent.parent / "service/schemas"
NAMES = {"defects": "decision", "state": "state", "health": "health", "status": "status", "trigger": "trigger"}


@functools.cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def check(topic: str, message: dict[str, Any]) -> None:
    """Raise when a message on `topic` is not what its schema says."""
    validator(NAMES[topic.rsplit("/", 1)[-1]]).validate(message)
