"""Prints the manual page edgecls.yaml(5), made from docs/configuration.md: `python packaging/manual.py PAGE DATE`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_HEAD = """\
.Dd {date}
.Dt EDGECLS.YAML 5
.Os edgecls
.Sh NAME
.Nm edgecls.yaml
.Nd what edgecls inspects and where it reports
.Sh DESCRIPTION
"""
_TAIL = """\
.Sh SEE ALSO
.Xr edgecls 1
"""


def page(markdown: str, date: str) -> str:
    """The whole page in mdoc. Of Markdown it knows what the configuration's page uses."""
    _title, _, body = markdown.partition("\n")
    return _HEAD.format(date=date) + "".join(f"{line}\n" for line in _lines(body.strip())) + _TAIL


def _lines(body: str) -> Iterator[str]:
    for block in re.split(r"\n{2,}", body):
        lines = block.splitlines()
        if heading := re.match(r"(##+) (.*)", lines[0]):
            yield f".{'Sh' if heading[1] == '##' else 'Ss'} {_text(heading[2]).upper()}"
        elif lines[0].startswith("```"):
            if lines[-1] != "```":
                raise ValueError(f"an example with an empty line, which is not known here: {block}")
            yield from (".Bd -literal", *(_literal(line) for line in lines[1:-1]), ".Ed")
        elif lines[0].startswith("|"):
            yield from _table(lines[2:])
        elif lines[0].startswith("- "):
            items = re.split(r"\n- ", "\n" + block)[1:]
            yield from (".Bl -bullet -compact", *(f".It\n{_text(item)}" for item in items), ".El")
        else:
            yield from (".Pp", _text(block))


def _table(rows: list[str]) -> Iterator[str]:
    """Each row of key, type, default, meaning becomes an entry of a list."""
    yield ".Bl -tag -width Ds"
    for row in rows:
        key, kind, default, meaning = (_text(cell) for cell in row.strip().strip("|").split("|"))
        yield f".It {key}"
        yield (
            f"{kind}, required." if default == "required" else f"{kind}; default: {default}." if default else f"{kind}."
        )
        if meaning:
            yield f"{meaning}."
    yield ".El"


def _text(markdown: str) -> str:
    """Words alone, on one line."""
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(markdown.split()))
    return _literal(re.sub(r"`|\B\*+(?=\w)|(?<=\w)\*+\B", "", words))


def _literal(line: str) -> str:
    """What mdoc would take for a command is none."""
    escaped = line.replace("\\", "\\e")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]))
