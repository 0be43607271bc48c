"""The system under examination: its files, below a root that tests can choose, and the programs that it has."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROGRAM_S = 10.0


@dataclass(frozen=True, slots=True)
class System:
    """A Linux system. What is not there is answered with None, for most of it is not there on most devices."""

    root: Path = Path("/")

    def file(self, name: str) -> Path:
        """Where a file of the system lies, `/proc/meminfo` for example."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str | None:
        """What a file says, without NUL and space around it; None when it cannot be read."""
        try:
            return self.file(name).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """The decimal number in a file; None when there is none."""
        try:
            return int(self.text(name) or "")
        except ValueError:
            return None

    def output(self, *command: str) -> str | None:
        """What a program prints; None when it is not installed or fails."""
        places = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        program = shutil.which(command[0], path=places)
        if program is None:
            return None
        try:
            done = subprocess.run(  # noqa: S603  # programs of the system, with arguments of ours
                [program, *command[1:]], check=True, capture_output=True, text=True, timeout=_PROGRAM_S
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()
