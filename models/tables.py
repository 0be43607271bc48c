"""Results as files: one folder with the same figures for people, for programs and to look at."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; what looks like a number stands on the right. A bar in a cell, as a label may have, is kept."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    right = [bool(cells) and all(_is_number(row[column]) for row in cells) for column in range(len(head))]
    lines = [[name.replace("|", "\\|") for name in head], ["---:" if number else "---" for number in right], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-≤ ")[:1].isdigit()


def write_report(folder: Path, name: str, text: str, document: dict[str, Any]) -> None:
    """`NAME.md` and `NAME.json`; labels stay as they are written, in any script.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
