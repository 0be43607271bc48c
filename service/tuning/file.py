"""The file that `edgecls tune` writes and every engine reads; docs/tuning.md describes it."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.errors import PermanentError
from edge.tuning import device_key, model_key

SCHEMA = "edgecls/tuning/1"


class TuningFileError(PermanentError):
    """The file cannot be written, or is something else."""


def check_writable(path: Path) -> None:
    """Find out before the measuring whether the result can be kept.

    Raises:
        TuningFileError: it cannot.
    """
    _read(path)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def keep(path: Path, bundle: Bundle, entry: dict[str, Any]) -> None:
    """Put what was measured of a bundle on this device into the file, beside what it holds of others.

    The file is exchanged as a whole: whoever reads it sees the old one or the new one.

    Raises:
        TuningFileError: it cannot be written.
    """
    document = _read(path)
    document["tuned"].setdefault(model_key(bundle), {})[device_key()] = entry
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # written by root, read by the daemon
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _unwritable(path, error) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"schema": SCHEMA, "tuned": {}}
    except (OSError, ValueError) as error:
        raise _foreign(path, f" ({error})") from error
    tuned = document.get("tuned") if isinstance(document, dict) and document.get("schema") == SCHEMA else None
    if isinstance(tuned, dict) and all(isinstance(devices, dict) for devices in tuned.values()):
        return {"schema": SCHEMA, "tuned": tuned}
    raise _foreign(path, "")


def _foreign(path: Path, why: str) -> TuningFileError:
    return TuningFileError(f"{path} is no file of `edgecls tune`{why}: remove it, or name another one with --output")


def _unwritable(path: Path, error: OSError) -> TuningFileError:
    return TuningFileError(
        f"{path} cannot be written ({error.strerror}): "
        "run `edgecls tune` as root, or name a file of yours with --output"
    )
