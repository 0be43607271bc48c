"""YAML read together with the line that each key stands on, so that an error can point at it."""

import re
import reprlib
from dataclasses import dataclass
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]

MAX_VALUES = 100_000
"""A configuration has hundreds. Aliases of aliases of aliases would have billions."""


class YamlError(Exception):
    """The text is not YAML."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        """From 1."""


class LineMap:
    """Where each key of a document stands."""

    def __init__(self) -> None:
        self._lines: dict[KeyPath, int] = {}

    def set(self, path: KeyPath, line: int) -> None:
        """Note that the key at `path` stands on `line` (from 1)."""
        self._lines[path] = line

    def has(self, path: KeyPath) -> bool:
        """Whether the document has this key."""
        return path in self._lines

    def of(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest key around it that is there."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


@dataclass(frozen=True, slots=True)
class Document:
    """Plain dicts, lists and scalars, and where they stand."""

    data: Any
    lines: LineMap
    problems: list[tuple[int, KeyPath, str]]
    """(line, key, what is wrong): duplicate keys, empty values, tags, circles. None stands in their place."""


def load(text: str) -> Document:
    """Read a text. An empty one is an empty mapping.

    Raises:
        YamlError: bad syntax. Everything else that is wrong is in the document's `problems`.
    """
    reader = _Reader()
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = {} if root is None else reader.read(root, ())
    except yaml.MarkedYAMLError as error:
        raise _in_plain_words(error) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"holds the control character {error.character:#04x}; remove it") from error
    except RecursionError as error:
        raise YamlError(1, "is nested too deeply; a configuration has a handful of levels") from error
    return Document(data, reader.lines, reader.problems)


_COLON = "a colon cannot stand here; check this line and the one above, and put a text that has a colon in quotes"
_PLACE = "this does not belong here; align it with the lines around it, or put the whole text in quotes"
_PLAIN_WORDS = (
    # The parser's context and problem, whether the mistake is where the context begins, what to say.
    (r"character '\\t'", False, "a tab cannot stand here; indent with spaces"),
    (r"quoted scalar: .*end of stream", True, "the quote that opens here is not closed; close it"),
    (
        r"flow (sequence|mapping)",
        True,
        "the bracket that opens here is not closed, or a comma is missing in it; add it",
    ),
    (r"find expected ':'", True, "a key needs a colon and a value; add them"),
    (r"cannot start any token", False, "a text that begins with this character needs quotes; add them"),
    (r"<block end>|<document start>", False, _PLACE),
    (r"mapping values", False, _COLON),
    (r"undefined alias", False, "this alias has no anchor above; add it, or put a text that begins with * in quotes"),
    (r"duplicate anchor", False, "this anchor stands on another value too; rename one of them"),
    (r"single document", False, "a second document begins here; keep one"),
)


def _in_plain_words(error: yaml.MarkedYAMLError) -> YamlError:
    said = f"{error.context or ''}: {error.problem or ''}"
    unknown = f"this is not YAML ({error.problem}); check indentation, quotes and colons"
    known = ((at, message) for pattern, at, message in _PLAIN_WORDS if re.search(pattern, said))
    at_the_context, message = next(known, (False, unknown))
    mark = error.context_mark if at_the_context else error.problem_mark
    return YamlError(mark.line + 1 if mark else 1, message)


class _Loader(yaml.SafeLoader):
    """Scalars as in YAML 1.2: no and on are words, 1:30 and 017 are not numbers, a date is a text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as yaml.SafeLoader has it


_TAG = "tag:yaml.org,2002:"
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


class _Reader:
    def __init__(self) -> None:
        self.lines = LineMap()
        self.problems: list[tuple[int, KeyPath, str]] = []
        self._loader = _Loader("")
        self._open: list[yaml.Node] = []
        self._count = 0

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        if not self.lines.has(path):  # a key's line wins over its value's
            self.lines.set(path, node.start_mark.line + 1)
        self._count += 1
        if self._count > MAX_VALUES:
            raise YamlError(self.lines.of(path), f"holds more than {MAX_VALUES} values; write fewer aliases")
        if any(node is outer for outer in self._open):
            return self._problem(path, "this alias contains itself; write the value out")
        if node.tag != self._untagged(node):
            tag = node.tag.replace(_TAG, "!!")
            return self._problem(path, f"the tag {tag} is not allowed; write a plain value, text in quotes")
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*path, number)) for number, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.pop()

    def _untagged(self, node: yaml.Node) -> str:
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return str(self._loader.resolve(type(node), node.value, (plain, not plain)))  # type: ignore[no-untyped-call]  # stubs

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str) or not key.isprintable():
                self.problems.append((line, path, "a key must be a word; write it out"))
            elif key == "<<":
                self.problems.append((line, (*path, key), "keys cannot be merged here; write them out"))
            elif key in data:
                text = f"duplicate key, it stands on line {self.lines.of((*path, key))} too; remove one of them"
                self.problems.append((line, (*path, key), text))
            else:
                self.lines.set((*path, key), line)
                data[key] = self.read(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "null":
            return self._problem(path, "is empty; give it a value or remove it")
        if _UNPRINTABLE.search(text):
            return self._problem(path, "holds a control character; remove it")
        if kind in ("int", "float") and len(text) > 100:
            return self._problem(path, "is too long for a number; give a smaller one, or put a text in quotes")
        if kind == "bool":
            return text.lower() == "true"
        return {"int": int, "float": float}.get(kind, str)(text)

    def _problem(self, path: KeyPath, text: str) -> None:
        self.problems.append((self.lines.of(path), path, text))


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def dotted(path: KeyPath) -> str:
    """A key path as people write it: `lines[0].source.video`."""
    text = ""
    for part in path:
        name = str(part) or '""'
        text += f"[{part}]" if isinstance(part, int) else f".{name}" if text else name
    return text


def shown(value: Any) -> str:
    """A wrong value as an error repeats it: short, and as the file has it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return str(value).lower() if isinstance(value, bool) else reprlib.repr(value)
