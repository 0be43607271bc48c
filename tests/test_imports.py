"""The arrows of the architecture: models -> edge <- service, and nothing heavy where it does not belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "edge": {"service", "models", "paho", "yaml", "sqlite3", "torch", "systemd", "amqtt"},
    "service": {"models", "torch", "onnx", "matplotlib"},
    "models": {"service", "paho", "sqlite3", "systemd"},
}
LOADED_ON_DEMAND = {"edge": {"onnxruntime": 1, "openvino": 1}, "service": {"amqtt": 1, "rich": 2}}
"""Allowed in so many files: those that wrap it, which are imported when they are asked for."""


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where the arrow goes"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_arrows_point_one_way(package: str) -> None:
    wrong = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in imports_of(file) & FORBIDDEN[package]
    }
    assert not wrong


@pytest.mark.parametrize("package", sorted(LOADED_ON_DEMAND))
def test_a_runtime_is_imported_in_the_files_that_wrap_it_only(package: str) -> None:
    runtimes = LOADED_ON_DEMAND[package]
    users: dict[str, list[str]] = {}
    for file in (ROOT / package).rglob("*.py"):
        for name in imports_of(file) & set(runtimes):
            users.setdefault(name, []).append(file.name)
    assert {name: len(files) for name, files in users.items()} == runtimes


def test_no_room_has_become_a_hall() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for package in (*FORBIDDEN, "tests", "packaging")
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
