"""The folder of the pictures as another process reads it, while the daemon writes there or not."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge.errors import PermanentError
from service.evidence.item import ID, Item, read_item

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pictures; None: whichever.

    Attributes:
        line: of this line.
        since: decided at this time or later.
        label: which show this, as far as is known.
    """

    line: str | None = None
    since: datetime | None = None
    label: str | None = None

    def has(self, item: Item) -> bool:
        """Whether this is one of them."""
        decided = datetime.fromisoformat(item.decision["ts"].replace("Z", "+00:00"))
        return (self.since is None or decided >= self.since) and self.label in (None, item.shown_label)


def kept_in(path: Path, wanted: Wanted) -> Iterator[tuple[Item, Path]]:
    """The pictures in a folder, the newest first, each with its JPEG; those that leave meanwhile are passed over.

    Raises:
        PermanentError: the folder cannot be read.
    """
    try:
        files = list(path.glob(f"{wanted.line or '*'}/*.json"))
        if not files:
            next(path.iterdir())  # glob does not say so when it may not read
    except (FileNotFoundError, StopIteration):
        return
    except OSError as error:
        raise PermanentError(f"{path} cannot be read ({error.strerror}): run it as root or as user edgecls") from error
    for file in sorted((file for file in files if ID.fullmatch(file.stem)), key=lambda file: file.stem, reverse=True):
        with suppress(FileNotFoundError, ValueError):
            item = read_item(file)
            if wanted.has(item):
                yield item, file.with_suffix(".jpg")


def since(text: str) -> datetime:
    """A time: so long ago (`30m`, `8h`, `2d`), or a date, with a time of day or without (ISO 8601; no zone: ours).

    Raises:
        ValueError: it is none.
    """
    if ago := _AGO.fullmatch(text):
        with suppress(OverflowError):
            return datetime.now(timezone.utc) - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    raise ValueError(f"{text!r} is no time: give one such as 8h, 2d, 2026-11-22 or 2026-11-22T06:00")
