"""Labels as people give them, and which one is good."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from service.model.facts import ModelFileError

GOOD = ("ok", "good", "free", "pass", "normal", "no_defect", "no defect", "合格", "良品", "正常")
"""Labels that mean good to everybody, in small letters; the first that a model has."""


def given_labels(option: str) -> tuple[str, ...]:
    """What `--labels` says: a file, or names with commas between them.

    A file has one label per line, or is JSON: a list, or an object from number to label (of ImageNet: to a list that
    ends in the label).

    Raises:
        ModelFileError: it is neither, or the file cannot be read.
    """
    path = Path(option)
    try:
        if not path.is_file():
            if "," not in option:
                raise ModelFileError(f"--labels {option} is no file, and no list: give a file, or a,b,c")
            return tuple(label.strip() for label in option.split(",") if label.strip())
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"--labels {option} cannot be read ({error}): give a text file in UTF-8") from error
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(option, text)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _from_json(option: str, text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            found = [found[str(number)] for number in range(len(found))]
        return tuple(str(entry[-1] if isinstance(entry, list) else entry) for entry in found)
    except (ValueError, KeyError, IndexError) as error:
        raise ModelFileError(
            f"--labels {option} is not JSON with a list of labels, or with labels numbered from 0: correct it"
        ) from error


def told_apart(labels: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The labels with a number behind those that come twice, as some of ImageNet's do; and which ones these were."""
    several = [label for label, times in Counter(labels).items() if times > 1]
    apart = tuple(f"{label} ({number})" if label in several else label for number, label in enumerate(labels))
    return apart, several


def pass_label(labels: Sequence[str], asked: str | None) -> str | None:
    """The label that means good; None where nobody says.

    Raises:
        ModelFileError: the one that was asked for is not among them.
    """
    if asked is not None:
        if asked not in labels:
            some = ", ".join(labels[:8]) + ", …" * (len(labels) > 8)
            raise ModelFileError(f"--pass-label {asked} is not one of the {len(labels)} labels: {some}")
        return asked
    small = {label.lower(): label for label in reversed(labels)}
    return next((small[word] for word in GOOD if word in small), None)
