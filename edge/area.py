"""A least area, in pixels or as a share of the picture."""

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Area:
    """So many pixels of the frame, or so many percent of the region of interest."""

    px: float = 0.0
    percent: float = 0.0

    @classmethod
    def parse(cls, value: Any) -> "Area":
        """From `40` or `"0.1 %"`.

        Raises:
            ValueError: it is neither.
        """
        if type(value) in (int, float) and 0 <= value <= 1e9:
            return cls(px=float(value))
        if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?) ?%", value)):
            percent = float(found[1])
            if percent <= 100:
                return cls(percent=percent)
        raise ValueError('must be pixels, such as 40, or a share of the picture, such as "0.1 %"')

    def in_pixels(self, picture_px: int) -> float:
        """What that is in a picture of so many pixels."""
        return max(self.px, self.percent * picture_px / 100)
