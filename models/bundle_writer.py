"""Bundles as the workshop reads and writes them; `edge.conversion.writer` is for `edgecls model import`, too."""

import json
from pathlib import Path
from typing import Any

from edge.conversion.writer import GOLDEN, TOLERANCE, add_file, golden_inputs, write_golden, write_manifest

__all__ = ["GOLDEN", "TOLERANCE", "add_file", "golden_inputs", "read_manifest", "write_golden", "write_manifest"]


def read_manifest(bundle: Path) -> dict[str, Any]:
    """model.json as it stands.

    Raises:
        ValueError: there is none.
    """
    try:
        manifest: dict[str, Any] = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{bundle} has no model.json: make the bundle with `export` first") from error
    return manifest
