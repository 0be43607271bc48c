"""Reading `/etc/edgecls.yaml`: every error at once, each with file, line, key, and what is allowed."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service import yaml_lines
from service.section import Section
from service.sections import Settings
from service.source_sections import SOURCE_KINDS
from service.yaml_lines import KeyPath, LineMap, dotted, shown

DEFAULT_PATH = Path("/etc/edgecls.yaml")
WRONG_CONFIGURATION = 78
"""The exit status then: EX_CONFIG of sysexits.h. systemd does not restart on it."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a configuration file."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.key}: {self.message}" if self.key else where + self.message


class ConfigurationError(Exception):
    """The configuration is wrong. Carries every problem found, in the order of the lines."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_settings(path: Path) -> Settings:
    """Read and check a configuration file. Relative paths in it are relative to the file.

    Raises:
        ConfigurationError: it cannot be read, or says something that is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "run as root or edgecls" if isinstance(error, PermissionError) else "give the path of a configuration"
        reason = f"cannot be read ({error.strerror}); {remedy}"
        raise ConfigurationError([Problem(str(path), 1, "", reason)]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([Problem(str(path), 1, "", "is not UTF-8 text; save it as UTF-8")]) from error
    return parse_settings(text, path)


def parse_settings(text: str, path: Path) -> Settings:
    """As `load_settings`, from a text that stands for the file at `path`.

    Raises:
        ConfigurationError: as above.
    """
    try:
        document = yaml_lines.load(text)
    except yaml_lines.YamlError as error:
        raise ConfigurationError([Problem(str(path), error.line, "", str(error))]) from error
    data, lines = document.data, document.lines
    found = list(document.problems)
    settings: Settings | None = None
    if isinstance(data, dict):
        try:
            settings = Settings.model_validate(data, context={"base": path.absolute().parent})
        except ValidationError as error:
            found = _merged(found, error.errors(), lines)
        named = {key for _, key, _ in found}
        across = [*_across_keys(data, Settings, ()), *_across_lines(data)]
        found += [(lines.of(key), key, text) for key, text in across if key not in named]
    else:
        found = [(1, (), "the file must hold keys and values, such as `lines:`")]
    if found or settings is None:
        raise ConfigurationError(sorted({Problem(str(path), line, dotted(key), text) for line, key, text in found}))
    return settings


Found = tuple[int, KeyPath, str]
"""Line, key, what is wrong."""


def _merged(found: list[Found], details: list[ErrorDetails], lines: LineMap) -> list[Found]:
    """What the reading found and what pydantic found, one message for each mistake."""
    unknown = {_place(detail, lines): _near(detail["loc"]) for detail in details if detail["type"] == "extra_forbidden"}
    meant = {(*key[:-1], near) for key, near in unknown.items()}
    merged = {(line, key): text for line, key, text in found}
    for detail in details:
        key = _place(detail, lines)
        if detail["type"] == "extra_forbidden":
            merged[lines.of(key), key] = _unknown_key(detail["loc"])
        elif detail["type"] != "missing" or key not in meant:
            merged.setdefault((lines.of(key), key), _message(detail))
    return [(line, key, text) for (line, key), text in merged.items()]


def _place(detail: ErrorDetails, lines: LineMap) -> KeyPath:
    # pydantic puts names of its own (the kind of a union's member) into the path; only keys of the file count.
    path: KeyPath = ()
    for part in detail["loc"]:
        if lines.has((*path, part)):
            path = (*path, part)
    if detail["type"] == "missing":
        return (*path, detail["loc"][-1])
    return path


def _message(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "missing":
        return "is missing; add it" + _EXAMPLES.get(str(detail["loc"][-1]), "")
    if kind == "union_tag_not_found":
        return _no_source(value)
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"must be one of {allowed}, not {shown(value)}"
    if kind == "model_type":
        allowed = ", ".join(_section_at(detail["loc"]).model_fields)
        return f"must be a mapping of keys and values, not {shown(value)}; allowed keys are {allowed}"
    wanted, remedy = _WANTED.get(kind, (detail["msg"], ""))
    return wanted.format(**context, shown=shown(value)) + remedy


_EXAMPLES = {
    "lines": ", a list of lines, each with name, topic and source",
    "name": ", such as line1",
    "topic": ", such as factory/line1",
    "source": ", such as {camera: /dev/video0}",
}

_WANTED = {
    "string_type": ("must be text, not {shown}", "; put text in quotes"),
    "string_too_short": ("must not be empty", "; give it a value or remove it"),
    "int_type": ("must be a whole number, not {shown}", ""),
    "float_type": ("must be a number, not {shown}", ""),
    "bool_type": ("must be true or false, not {shown}", ""),
    "dict_type": ("must be a mapping of names and values, not {shown}", ""),
    "list_type": ("must be a list, not {shown}", "; begin each entry with a dash"),
    "greater_than": ("must be more than {gt:.10g}, not {shown}", ""),
    "greater_than_equal": ("must be at least {ge:.10g}, not {shown}", ""),
    "less_than_equal": ("must be at most {le:.10g}, not {shown}", ""),
    "too_short": ("must have at least one entry", ""),
}


def _no_source(value: Any) -> str:
    if not isinstance(value, dict):
        return f"must be a mapping such as {{camera: /dev/video0}}, not {shown(value)}"
    if kinds := [kind for kind in SOURCE_KINDS if kind in value]:
        return f"a line has one source, not {' and '.join(kinds)}; keep one"
    near = [match for key in value for match in difflib.get_close_matches(key, SOURCE_KINDS, n=1)]
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"must have one of the keys {', '.join(SOURCE_KINDS)}{hint}, such as {{camera: /dev/video0}}"


def _near(path: KeyPath) -> str:
    """The key that was probably meant where an unknown one stands, or ""."""
    return "".join(difflib.get_close_matches(str(path[-1]), _section_at(path[:-1]).model_fields, n=1))


def _unknown_key(path: KeyPath) -> str:
    hint = f" (did you mean {near}?)" if (near := _near(path)) else ""
    return f"unknown key{hint}; allowed are {', '.join(_section_at(path[:-1]).model_fields)}"


def _section_at(path: KeyPath) -> type[Section]:
    """The model of the mapping at `path`, which is as pydantic gives it, with the kind of a source in brackets."""
    section: type[Section] = Settings
    for part in path:
        if isinstance(part, str) and part.strip("<>") in SOURCE_KINDS and part.startswith("<"):
            section = SOURCE_KINDS[part.strip("<>")]
        elif isinstance(part, str) and part != "source":
            section = _models_in(section.model_fields[part].annotation)[0]
    return section


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _across_keys(given: dict[str, Any], section: type[Section], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """What the keys of each section say against each other, in the whole file."""
    yield from (((*path, key), text) for key, text in section.across(given))
    for key in given.keys() & section.model_fields.keys():
        inner = _models_in(section.model_fields[key].annotation)
        if key == "source" and isinstance(given[key], dict):
            kinds = [kind for kind in SOURCE_KINDS if kind in given[key]]
            inner = [SOURCE_KINDS[kind] for kind in kinds]
        if len(inner) != 1:  # no section, or no single one
            continue
        value, where = given[key], (*path, key)
        entries = (
            [((*where, n), entry) for n, entry in enumerate(value)] if isinstance(value, list) else [(where, value)]
        )
        for place, entry in entries:
            if isinstance(entry, dict):
                yield from _across_keys(entry, inner[0], place)


def _across_lines(data: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """What no single key can see: names and topics that stand twice, a line without a model."""
    entries = data.get("lines")
    lines = [line if isinstance(line, dict) else {} for line in entries] if isinstance(entries, list) else []
    for key in ("name", "topic"):
        seen: dict[str, int] = {}
        for number, line in enumerate(lines):
            value = line.get(key)
            if isinstance(value, str) and seen.setdefault(value, number) != number:
                yield (
                    ("lines", number, key),
                    f"{shown(value)} is the {key} of lines[{seen[value]}] too; make it unique",
                )
    for number, line in enumerate(lines):
        # An unknown key that is nearly `model` is named already.
        paths: list[KeyPath] = [*(("lines", number, key) for key in line), *((key,) for key in data)]
        if line and not any(_near(path) == "model" for path in paths):
            yield ("lines", number), "has no model; give one here or `model:` for every line"
