"""What every check may look at: the system, the configuration, and whether the daemon runs."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from service.doctor.locks import locked_by
from service.doctor.system import System
from service.sections import EngineSection, EvidenceSection, LineSection, OutboxSection, Settings
from service.settings import ConfigurationError, Problem, load_settings


@dataclass(frozen=True)
class Case:
    """One examination.

    Attributes:
        system: whose files are looked at.
        config: the configuration file.
        settings: what it says; None when it is wrong or cannot be read.
        problems: why.
        try_sources: whether the sources are opened.
    """

    system: System
    config: Path
    settings: Settings | None = None
    problems: tuple[Problem, ...] = ()
    try_sources: bool = True

    @property
    def outbox(self) -> OutboxSection:
        """That of the configuration, or the default."""
        return self.settings.outbox if self.settings else OutboxSection()

    @property
    def evidence(self) -> EvidenceSection:
        """That of the configuration, or the default."""
        return self.settings.evidence if self.settings else EvidenceSection()

    @property
    def evidence_path(self) -> Path:
        """The folder of the pictures."""
        return self.settings.evidence_path if self.settings else Path(self.outbox.path).parent / "evidence"

    @property
    def engine(self) -> EngineSection:
        """That of the configuration, or the default."""
        return self.settings.engine if self.settings else EngineSection()

    @cached_property
    def daemon_pid(self) -> int | None:
        """The daemon that works with this outbox now; None when there is none."""
        return locked_by(Path(self.outbox.path))


def open_case(system: System, config: Path, *, try_sources: bool) -> Case:
    """Read the configuration, which may be wrong or missing."""
    try:
        return Case(system, config, load_settings(config), (), try_sources)
    except ConfigurationError as wrong:
        return Case(system, config, None, tuple(wrong.problems), try_sources)


def camera_of(line: LineSection) -> str | None:
    """The V4L2 device that a line reads from; None when its source is another one."""
    camera = getattr(line.source, "camera", None)
    return f"/dev/video{camera}" if isinstance(camera, int) else camera


def reads_files(line: LineSection) -> bool:
    """Whether any number of programs may read its source at the same time."""
    return hasattr(line.source, "video") or hasattr(line.source, "images")


def is_missing(path: Path) -> bool:
    """Not when it cannot be told, because a folder above it is closed to this user."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
