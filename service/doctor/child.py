"""A question that is asked in a process of its own, because the answer may never come, or end the process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


class AskError(Exception):
    """There is no answer; the text says what became of the process."""


def ask(module: str, *arguments: str, timeout_s: float) -> dict[str, Any]:
    """Run a module of ours and take the JSON object that it prints.

    Raises:
        AskError: it hung, was killed, or printed something else.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603  # this very Python
            command,
            cwd=_ROOT,  # where the package is found; where the user stands may lie anything
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that whatever it has started ends with it
        )
    except OSError as error:
        raise AskError(f"no process can be started ({error})") from error
    with process:
        try:
            printed, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AskError(f"it does not answer within {timeout_s:g} s") from error
        finally:
            _end(process)
    if process.returncode == -signal.SIGALRM:
        raise AskError("it hangs")
    if process.returncode < 0:
        raise AskError(f"it was ended by {signal.Signals(-process.returncode).name}")
    try:
        answer: dict[str, Any] = json.loads(printed)
    except ValueError as error:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise AskError(last or f"it ended with exit status {process.returncode}") from error
    return answer


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The process, and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
