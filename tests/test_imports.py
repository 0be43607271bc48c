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
LOADED_ON_DEMAND = {"edge": {"onnxruntime", "openvino"}, "service": {"amqtt", "rich"}}
"""Allowed in the one file that wraps it, which a factory imports when it is asked for."""


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


@pytest.mark.parametrize(("package", "runtimes"), sorted((p, r) for p, r in LOADED_ON_DEMAND.items()))
def test_a_runtime_is_imported_in_one_file_only(package: str, runtimes: set[str]) -> None:
    users: dict[str, list[str]] = {}
    for file in (ROOT / package).rglob("*.py"):
        for name in imports_of(file) & runtimes:
            users.setdefault(name, []).append(file.name)
    assert {name: len(files) for name, files in users.items()} == dict.fromkeys(runtimes, 1)


def test_no_room_has_become_a_hall() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for package in (*FORBIDDEN, "tests", "packaging")
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
