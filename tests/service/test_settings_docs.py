"""The packaged configuration and its documentation, held against the models of the sections."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from conftest import ROOT

from service.http_section import HttpSection
from service.section import Section
from service.sections import DecideSection, Settings
from service.settings import parse_settings
from service.source_sections import SOURCE_KINDS

PACKAGED = ROOT / "packaging/edgecls.yaml"


def models_of(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_of(argument)]


def keys_of(section: type[Section]) -> Iterator[str]:
    for key, field in section.model_fields.items():
        yield key
        for inner in models_of(field.annotation):
            yield from keys_of(inner)


def test_the_packaged_file_shows_the_defaults(surface_demo: Path) -> None:
    text = PACKAGED.read_text(encoding="utf-8")
    packaged = text.replace("/usr/share/edgecls/models/surface-demo", str(surface_demo))
    assert packaged != text
    as_it_is = parse_settings(packaged, PACKAGED)
    assert [line.name for line in as_it_is.lines] == ["line1"]
    common = {"node", "mqtt", "outbox", "evidence", "engine"}
    assert as_it_is.model_dump(include=common) == Settings.model_construct().model_dump(include=common)

    # A comment that begins with a key shows a setting; without its "# " the file is valid and means the same.
    shown = re.sub(r"(?m)^( *)# (?=( *)[a-z_]+:( |$))", r"\1", packaged)
    assert shown != packaged
    # Those that have no default.
    examples = re.compile(
        r"(?m)^ *(node|username|password_file|tls|roi|thresholds|min_area|openvino_dir|reference):.*\n"
    )
    assert len(examples.findall(shown)) == 12
    of_triggers = re.compile(r"(?m)^ *timeout_s: .*\n")  # it has no place beside the keys for parts
    (timeout,) = of_triggers.findall(shown)
    assert yaml.safe_load(timeout) == {"timeout_s": DecideSection().timeout_s}
    shown = of_triggers.sub("", shown)
    parse_settings(shown.replace("  port: 1883", "  port: 8883"), PACKAGED)
    everything = parse_settings(examples.sub("", shown), PACKAGED)
    given = everything.model_dump()
    assert given["mqtt"].pop("port") == 1883
    assert given["evidence"].pop("path") == str(as_it_is.evidence_path)
    assert given.pop("http") == HttpSection().model_dump()
    expected = as_it_is.model_dump()
    assert expected.pop("http") is None
    expected["mqtt"].pop("port")
    expected["evidence"].pop("path")
    assert given == expected

    mentioned = set(re.findall(r"\w+(?=:)", shown)) | {"timeout_s"}
    of_sources = {key for kind in SOURCE_KINDS.values() for key in kind.model_fields}
    assert set(keys_of(Settings)) - mentioned - {"cert_file", "key_file"} - of_sources == set()
    assert set(yaml.safe_load(shown)) == set(Settings.model_fields)


def test_the_documentation_names_every_key() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    tables = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    for key in {*keys_of(Settings), *(key for kind in SOURCE_KINDS.values() for key in kind.model_fields)}:
        assert re.search(rf"`(\w+\.)?{key}`", tables), key


def test_the_example_of_the_documentation_is_valid(surface_demo: Path) -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    parse_settings(example.replace("/usr/share/edgecls/models/surface-demo", str(surface_demo)), ROOT / "a.yaml")


@pytest.mark.parametrize("before", sorted((ROOT / "tests/configurations").glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_of_versions_before_are_accepted(before: Path, surface_demo: Path) -> None:
    # Whoever edits one of these files breaks what the pages on updates promise.
    text = before.read_text(encoding="utf-8")
    settings = parse_settings(text.replace("/usr/share/edgecls/models/surface-demo", str(surface_demo)), before)
    assert settings.lines[0].topic == "factory/line1"
