"""Bundles as the workshop reads and writes them; `edge.conversion.writer` is for `edgecls model import`, too."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.bundle import load_bundle
from edge.conversion.writer import (
    GOLDEN,
    TOLERANCE,
    add_file,
    golden_inputs,
    name_of,
    write_golden,
    write_manifest,
)

__all__ = [
    "GOLDEN",
    "TOLERANCE",
    "add_file",
    "edited",
    "golden_inputs",
    "name_of",
    "read_manifest",
    "write_golden",
    "write_manifest",
]


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


@contextmanager
def edited(bundle: Path) -> Iterator[Path]:
    """A copy of a bundle to work on; what differs goes into the bundle when all went well, model.json last.

    Files that the new model.json no longer names are removed. When something fails the bundle is as it was.

    Raises:
        ValueError: there is no such bundle, or what came out is none.
        OSError: the folder cannot be written.
    """
    before = _named(read_manifest(bundle))
    with tempfile.TemporaryDirectory(prefix=f".{bundle.name}.", dir=bundle.absolute().parent) as folder:
        copy = Path(folder) / bundle.absolute().name
        shutil.copytree(bundle, copy)
        yield copy
        load_bundle(copy)
        after = _named(read_manifest(copy))
        for name in sorted(after):
            if not (bundle / name).is_file() or (bundle / name).read_bytes() != (copy / name).read_bytes():
                (copy / name).replace(bundle / name)
        (copy / "model.json").replace(bundle / "model.json")
        for name in before - after:
            (bundle / name).unlink(missing_ok=True)


def _named(manifest: dict[str, Any]) -> set[str]:
    """The files that a manifest names."""
    paths = [Path(entry["path"]) for entry in manifest["files"]]
    weights = [path.with_suffix(".bin") for path in paths if path.suffix == ".xml"]
    return {str(path) for path in (*paths, *weights)} | {str(manifest["golden"]["path"])}
