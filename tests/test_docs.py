"""The pages say what the code does: their examples are valid, their links lead somewhere, every option is there."""

import argparse
import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from schemas import NAMES, SCHEMAS, examples, kind_of, validator

from edge.bundle import Manifest
from models.__main__ import COMMANDS
from service.cli import _parser
from service.settings import parse_settings

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced examples of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(page), re.MULTILINE | re.DOTALL)


def commands() -> dict[str, argparse.ArgumentParser]:
    """Of `model`, each of its actions."""
    (found,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    all_of_them: dict[str, argparse.ArgumentParser] = {}
    for name, parser in found.choices.items():
        inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        all_of_them |= {f"{name} {one}": p for one, p in inner[0].choices.items()} if inner else {name: parser}
    return all_of_them


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings if name.startswith("--")} - {"--help"}


def arguments(parser: argparse.ArgumentParser) -> set[str]:
    return {str(action.metavar) for action in parser._actions if not action.option_strings}


@pytest.mark.parametrize("page", ["README.md", "docs/messages.md"])
def test_every_message_is_valid(page: str) -> None:
    messages = [json.loads(block) for block in blocks(page, "json")]
    assert messages
    for message in messages:
        validator(kind_of(message)).validate(message)


@pytest.mark.parametrize("name", sorted(NAMES.values()))
def test_every_kind_of_message_has_an_example_and_every_field_an_explanation(name: str) -> None:
    section = read("docs/messages.md").split(f"\n## {name.capitalize()}\n")[1].split("\n## ")[0]
    assert examples(name)
    assert section.count("```json") == len(examples(name))
    table = "\n".join(line for line in section.splitlines() if line.startswith("| `"))
    obvious = {"schema", "node", "line"}
    fields = set(json.loads((SCHEMAS / f"{name}.json").read_text())["properties"]) - obvious
    assert {field for field in fields if f"`{field}`" not in table} == set()


def test_the_asyncapi_document_has_the_examples_of_the_messages_page() -> None:
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8"))
    messages = [m for name, m in document["components"]["messages"].items() if name != "image"]
    assert [example["payload"] for message in messages for example in message["examples"]] == examples()


def test_every_configuration_in_the_readme_is_valid() -> None:
    examples = blocks("README.md", "yaml")
    assert examples
    for example in examples:
        parse_settings(example, ROOT / "edgecls.yaml")


def test_the_model_json_of_the_bundles_page_is_valid_and_explained() -> None:
    (example,) = blocks("docs/bundles.md", "json")
    manifest = json.loads(example)
    Manifest.model_validate(manifest)
    table = re.findall(r"^\| (`.*?) \|", read("docs/bundles.md"), re.MULTILINE)
    named = {key for row in table for key in re.findall(r"`([\w.]+)`", row)}
    keys = (set(manifest) - {"input"}) | {f"input.{key}" for key in manifest["input"]}
    assert keys - named == set()


def test_the_bundles_page_shows_every_command_of_the_workshop() -> None:
    shown = set(re.findall(r"python -m models ([\w-]+)", read("docs/bundles.md")))
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {link}"


def test_the_commands_page_has_every_command_and_option_and_no_other() -> None:
    text = read("docs/commands.md")
    sections = dict(re.findall(r"^##+ `edgecls ([\w -]+)`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(commands())
    for name, parser in commands().items():
        assert set(re.findall(r"^\| `(--[\w-]+)", sections[name], re.MULTILINE)) == options(parser), name
        for argument in arguments(parser):
            assert f"| `{argument}" in sections[name], f"{name} {argument}"
    assert all(option in text for option in options(_parser()))


def test_the_man_page_has_every_command_and_option_and_no_other() -> None:
    text = read("packaging/edgecls.1")
    sections = dict(re.findall(r"^\.Ss ([\w -]+)\n(.*?)(?=^\.S[sh] |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(commands())
    synopsis = text.split(".Sh SYNOPSIS\n")[1].split(".Sh ")[0]
    calls = {call.split("\n")[0][4:]: call for call in synopsis.split(".Nm\n") if call.startswith(".Cm")}
    for name, parser in commands().items():
        explained = set(re.findall(r"^\.It Fl Fl ([\w-]+)", sections[name], re.MULTILINE))
        listed = set(re.findall(r"^\.Op Fl Fl ([\w-]+)", calls[name], re.MULTILINE))
        assert {f"--{option}" for option in explained} == options(parser), name
        assert {f"--{option}" for option in listed} == options(parser), name
        for argument in arguments(parser):
            assert re.search(rf"Ar {argument.lower()}\b", calls[name]), f"{name} {argument}"
    assert all(f"Fl Fl {option[2:]}" in synopsis for option in options(_parser()))
