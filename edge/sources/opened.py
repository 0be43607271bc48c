"""What a live source says of itself when it is open."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class About:
    """One source that was opened.

    Attributes:
        gives: what it delivers, such as "1280x720 MJPG at 30 fps".
        differs: in what this is not what was asked for, else nothing.
        identity: which camera it is, if that can be told.
    """

    gives: str
    differs: str = ""
    identity: str = ""
