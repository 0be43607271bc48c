"""Fonts for labels in any script: whatever of the installed fonts has the letters that a picture needs."""

import contextlib
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager, rcParams
from matplotlib.ft2font import FT2Font

PACKAGES = "fonts-noto-core fonts-noto-cjk"
"""Debian's, with the letters of nearly every script."""
BOXES = {"Last Resort", "Last Resort High-Efficiency"}
"""matplotlib's own, which draws a box for every letter there is."""
PLAIN = {"400", "normal", "regular"}


def use_fonts_for(texts: Iterable[str]) -> None:
    """Let matplotlib draw these texts: beside its own font it takes others for the letters that this one lacks.

    When no installed font has a letter, a sentence on stderr says what to install; matplotlib draws a box for it.
    """
    missing = {
        ord(letter) for text in texts for letter in text if not unicodedata.category(letter).startswith(("C", "Z"))
    }
    families = [_own()]
    for path, family in [(font_manager.findfont(_own()), _own()), *_others()]:
        if not missing:
            break
        here = missing & _letters(path)
        if here and family not in families:
            families.append(family)
        missing -= here
    rcParams["font.family"] = families
    if missing:
        some = "".join(chr(letter) for letter in sorted(missing)[:8])
        print(f"no installed font has the letters {some}: install {PACKAGES} to see them in pictures", file=sys.stderr)


def _own() -> str:
    return "DejaVu Sans"


def _others() -> list[tuple[str, str]]:
    """(path, family) of every installed font, those with upright, plain letters first."""
    manager = font_manager.fontManager
    known = {one.fname for one in manager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:  # installed since matplotlib last looked, which it does once in its life
            with contextlib.suppress(OSError, RuntimeError):
                manager.addfont(path)
    plain = sorted(manager.ttflist, key=lambda one: (one.style != "normal", str(one.weight) not in PLAIN))
    return [(one.fname, one.name) for one in plain if one.name not in BOXES]


@cache
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
