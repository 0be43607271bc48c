"""The arrows of the architecture: models -> edge <- service, and nothing heavy where it does not belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "edge": {"service", "models", "paho", "yaml", "sqlite3", "torch", "systemd", "amqtt"},
    "service": {"models", "torch"},
    "models": {"service", "paho", "sqlite3", "systemd"},
}
LOADED_ON_DEMAND = {
    "edge": {
        "onnx": {"conversion/extend.py", "conversion/first_conv.py", "conversion/quantise.py"},
        "onnxruntime": {"backends/onnxruntime.py", "conversion/extend.py", "conversion/quantise.py"},
        "openvino": {"backends/openvino.py"},
    },
    "service": {
        "aiohttp": {f"page/{name}.py" for name in ("answers", "door", "guard", "live", "refusals", "server")},
        "amqtt": {"embedded_broker.py"},
        "matplotlib": {"bench/plot.py"},
        "onnx": {"model/onnx_file.py"},
        "onnxruntime": {"model/onnx_file.py"},
        "openvino": {"model/ir_file.py"},
        "prometheus_client": {"metrics/render.py"},
        "rich": {"bench/screen.py", "progress.py", "watch/screen.py"},
    },
}
"""Allowed in the files that wrap it alone, which are imported when they are asked for."""


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
def test_a_runtime_is_imported_only_where_it_is_wrapped(package: str, runtimes: dict[str, set[str]]) -> None:
    users: dict[str, set[str]] = {name: set() for name in runtimes}
    for file in (ROOT / package).rglob("*.py"):
        for name in imports_of(file) & set(runtimes):
            users[name].add(str(file.relative_to(ROOT / package)))
    assert users == runtimes


def test_no_room_has_become_a_hall() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for package in (*FORBIDDEN, "tests", "packaging")
        for file in (ROOT / package).rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
