"""`edgecls model verify`, `show` and `pack`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.cli import main


def test_verify_says_which_engines_answer_as_they_should(surface_demo: Path, capsys: Any) -> None:
    assert main(["model", "verify", str(surface_demo), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {(e["backend"], e["precision"]) for e in told["engines"]} == {
        (backend, precision) for backend in ("onnxruntime", "openvino") for precision in ("fp32", "int8")
    }
    assert all(engine["difference"] <= engine["allowed"] for engine in told["engines"])


def test_verify_names_an_engine_that_answers_otherwise(broken_bundle: Path, capsys: Any) -> None:
    manifest = json.loads((broken_bundle / "model.json").read_text(encoding="utf-8"))
    manifest["golden"]["scores"]["int8"][2] = [0.0, 0.0, 0.0, 1.0]
    (broken_bundle / "model.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert main(["model", "verify", str(broken_bundle)]) == 1
    told = capsys.readouterr().out
    assert "int8 on onnxruntime: " in told
    assert "golden input 2 scores otherwise" in told
    assert "fp32 on onnxruntime: scores as they should be" in told


def test_verify_and_show_refuse_a_damaged_bundle(broken_bundle: Path, capsys: Any) -> None:
    (broken_bundle / "model.onnx").write_bytes(b"something else")
    for action in ("verify", "show", "pack"):
        assert main(["model", action, str(broken_bundle)]) == 1
        assert "model.onnx is not the file that model.json describes" in capsys.readouterr().err


def test_show(surface_demo: Path, capsys: Any) -> None:
    assert main(["model", "show", str(surface_demo)]) == 0
    told = capsys.readouterr().out
    for words in (
        "surface-demo 1.0.0: classification",
        "4: ok, deformation, scratch, stain",
        "160x160, BGR",
        "MB",
        "val",
    ):
        assert words in told
    assert main(["model", "show", str(surface_demo), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"]["model.onnx"] == (surface_demo / "model.onnx").stat().st_size
    assert document["labels"][0] == "ok"


@pytest.fixture
def renamed(broken_bundle: Path) -> Path:
    return described(
        broken_bundle, name="cell-7.tiles", version="1.2~rc1", labels=["好", "deformation", "scratch", "stain"]
    )


def described(bundle: Path, **values: object) -> Path:
    manifest = json.loads((bundle / "model.json").read_text(encoding="utf-8")) | values
    if "labels" in values:
        manifest["pass_label"] = manifest["labels"][0]
    (bundle / "model.json").write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    return bundle


def test_pack_gives_the_same_package_again(
    renamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = tmp_path / "a.deb", tmp_path / "b.deb"
    assert main(["model", "pack", str(renamed), "--output", str(first)]) == 0
    os.utime(renamed / "model.onnx", (1, 1))
    old = os.umask(0o077)
    try:
        assert main(["model", "pack", str(renamed), "--output", str(second)]) == 0
    finally:
        os.umask(old)
    assert first.read_bytes() == second.read_bytes()
    assert capsys.readouterr().out == f"{first}\n{second}\n"
    listing = subprocess.run(["dpkg-deb", "-c", first], check=True, capture_output=True, text=True).stdout
    assert "./usr/share/edgecls/models/cell-7.tiles/model.int8.onnx" in listing
    assert all(line.split()[1] == "root/root" and "2023-11-14" in line for line in listing.splitlines())
    fields = subprocess.run(["dpkg-deb", "-f", first], check=True, capture_output=True, text=True).stdout
    assert "Package: edgecls-model-cell-7.tiles\nVersion: 1.2~rc1\nArchitecture: all\n" in fields
    subprocess.run(["dpkg-deb", "-x", first, tmp_path / "root"], check=True)
    assert main(["model", "show", str(tmp_path / "root/usr/share/edgecls/models/cell-7.tiles")]) == 0
    assert "好" in capsys.readouterr().out


def test_a_package_has_its_proper_name_where_none_is_given(
    renamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["model", "pack", str(renamed)]) == 0
    assert (tmp_path / "edgecls-model-cell-7.tiles_1.2~rc1_all.deb").is_file()


def test_what_cannot_be_packed(renamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for values, words in (
        ({"version": "v1 beta"}, "the version v1 beta is none of a Debian package"),
        ({"name": "surface-demo", "version": "2"}, "the package edgecls-models has a bundle surface-demo"),
    ):
        assert main(["model", "pack", str(described(renamed, **values)), "--output", str(tmp_path / "x.deb")]) == 1
        assert words in capsys.readouterr().err
    described(renamed, name="mine")
    assert main(["model", "pack", str(renamed), "--output", str(tmp_path / "no/x.deb")]) == 1
    assert "does not exist: create it" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["model", "pack", str(renamed), "--output", str(tmp_path / "x.deb")]) == 1
    assert "dpkg-deb is missing" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.deb"))
