"""`edgecls tune` on real engines: what is written, what is out, and that `auto` goes by it."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
from conftest import ROOT
from pydantic import TypeAdapter

from edge.backends import EngineSettings, Plan
from edge.bundle import load_bundle
from edge.tuning import Measured, device_key, model_key
from service.tuning.measure import Failure, measure_in_a_process

COMMAND = [sys.executable, "-m", "service.cli"]
OTHERS: dict[str, Any] = {"another model": {"another device": {"measured": []}}}


def edgecls(*arguments: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "Traceback" not in done.stderr
    return done


def spoil(bundle: Path) -> None:
    """The golden scores of INT8 are those of another model, and OpenVINO has an FP16 file that it cannot read."""
    manifest = json.loads((bundle / "model.json").read_text())
    rows = manifest["golden"]["scores"]["int8"]
    rows[0] = rows[0][1:] + rows[0][:1]
    (bundle / "half.onnx").write_bytes(b"no model")
    sha256 = hashlib.sha256(b"no model").hexdigest()
    half = {"precision": "fp16", "format": "onnx", "path": "half.onnx", "sha256": sha256, "backend": "openvino"}
    manifest["files"].append(half)
    manifest["golden"]["scores"]["fp16"] = manifest["golden"]["scores"]["fp32"]
    (bundle / "model.json").write_text(json.dumps(manifest))


def same_keys(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same_keys(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list) and one and other:
        return same_keys(one[0], other[0])
    return True


def test_a_run_from_the_race_to_the_engine_that_goes_by_it(broken_bundle: Path, tmp_path: Path, clip: Path) -> None:
    spoil(broken_bundle)
    output = tmp_path / "tuning.json"
    output.write_text(json.dumps({"schema": "edgecls/tuning/1", "tuned": OTHERS}))
    line = {"name": "a", "topic": "a", "source": {"images": "*.png"}}
    config = tmp_path / "edgecls.yaml"
    config.write_text(json.dumps({"model": str(broken_bundle), "engine": {"tuning": str(output)}, "lines": [line]}))

    done = edgecls("tune", "--config", config, "--max-cores", 1, "--seconds", 0.1, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("output") == str(output)
    document = json.loads(output.read_text())
    entry = document["tuned"].pop(model_key(load_bundle(broken_bundle)))[device_key()]
    assert entry == told
    assert document["tuned"] == OTHERS
    assert output.stat().st_mode & 0o777 == 0o644
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "edgecls.yaml", "tuning.json"}

    measured = TypeAdapter(list[Measured]).validate_python(entry["measured"])
    assert {(one.plan.backend, one.plan.precision) for one in measured} == {
        ("onnxruntime", "fp32"),
        ("openvino", "fp32"),
    }
    assert all(one.plan.threads == one.plan.streams == 1 for one in measured)
    assert all(one.p50_ms > 0 and one.fps > 0 and one.cpu_ms > 0 and one.peak_mib > 20 for one in measured)
    assert entry["preferred"] == entry["picks"]["latency"]
    assert entry["preferred"] in [one["plan"] for one in entry["measured"]]
    assert entry["settings"]["max_cores"] == 1
    failed = {(one["plan"]["backend"], one["plan"]["precision"]): (one["kind"], one["why"]) for one in entry["failed"]}
    assert {key: kind for key, (kind, _) in failed.items()} == {
        ("onnxruntime", "int8"): "golden",
        ("openvino", "int8"): "golden",
        ("openvino", "fp16"): "refused",
    }
    assert re.search(r"difference 0\.\d+, allowed 0\.\d+", failed["onnxruntime", "int8"][1])
    assert "half.onnx" in failed["openvino", "fp16"][1]
    assert any(note.startswith("For latency: fp32 on ") for note in entry["notes"])

    page = (ROOT / "docs/tuning.md").read_text(encoding="utf-8")
    example = json.loads(re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0])
    assert example["schema"] == document["schema"]
    (devices,) = example["tuned"].values()
    (shown,) = devices.values()
    assert same_keys(shown, entry), "docs/tuning.md shows another file than the one that is written"
    assert all(f"`{key}`" in page for key in [*entry, *entry["measured"][0], *entry["measured"][0]["samples"][0]])

    picture = tmp_path / "1.png"
    cv2.imwrite(str(picture), cv2.VideoCapture(str(clip)).read()[1])
    classified = edgecls("classify", "--config", config, picture)
    assert classified.returncode == 0, classified.stderr
    plan = TypeAdapter(Plan).validate_python(entry["preferred"])
    assert f"{plan} (the quickest that `edgecls tune` measured here)" in classified.stderr


def test_what_people_see(surface_demo: Path, tmp_path: Path) -> None:
    config = tmp_path / "edgecls.yaml"
    line = {"name": "a", "topic": "a", "source": {"images": "*.png"}}
    engine = {"backend": "onnxruntime", "precision": "int8", "threads": 1, "streams": 1}
    config.write_text(json.dumps({"model": str(surface_demo), "engine": engine, "lines": [line]}))
    done = edgecls(
        *("tune", "--config", config, "--for", "throughput", "--seconds", 0.1, "--output", tmp_path / "tuning.json")
    )
    assert done.returncode == 0, done.stderr
    assert "* int8 on onnxruntime, device cpu, 1 thread" in done.stdout
    assert "For throughput: int8 on onnxruntime, device cpu, 1 thread, " in done.stdout
    assert "For latency the rule without tuning says the same." in done.stdout
    assert f"written to {tmp_path / 'tuning.json'}" in done.stderr


def test_a_result_that_cannot_be_kept_is_told_before_the_race(surface_demo: Path, tmp_path: Path) -> None:
    done = edgecls("tune", "--model", surface_demo, "--output", tmp_path / "none" / "tuning.json")
    assert done.returncode == 1
    assert done.stderr == (
        f"edgecls: {tmp_path / 'none' / 'tuning.json'} cannot be written (No such file or directory): "
        "run `edgecls tune` as root, or name a file of yours with --output\n"
    )
    foreign = tmp_path / "edgecls.yaml"
    for text in ("mqtt: {}\n", '{"schema": "other"}', '{"schema": "edgecls/tuning/1", "tuned": [1]}'):
        foreign.write_text(text)
        done = edgecls("tune", "--model", surface_demo, "--output", foreign)
        assert done.returncode == 1
        assert f"{foreign} is no file of `edgecls tune`" in done.stderr
        assert foreign.read_text() == text


def test_wrong_usage(surface_demo: Path) -> None:
    assert "--max-cores 0: give 1 or more" in edgecls("tune", "--model", surface_demo, "--max-cores", 0).stderr
    assert edgecls("tune", "--model", surface_demo, "--seconds", "nan").returncode == 2
    assert edgecls("tune", "--model", surface_demo, "--for", "fun").returncode == 2


def children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text(encoding="ascii").split()
    ]


def wait_for_a_child(pid: int, of_others: frozenset[int] = frozenset()) -> int:
    deadline = time.monotonic() + 30
    while not (found := set(children(pid)) - of_others):
        assert time.monotonic() < deadline, "no process was started"
        time.sleep(0.02)
    return found.pop()


def wait_for_the_end_of(pid: int) -> None:
    deadline = time.monotonic() + 30
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/cmdline").read_bytes():  # a zombie's is empty
            assert time.monotonic() < deadline, "it goes on"
            time.sleep(0.02)


def test_ctrl_c_leaves_everything_as_it_was(surface_demo: Path, tmp_path: Path) -> None:
    output = tmp_path / "tuning.json"
    command = [*COMMAND, "tune", "--model", str(surface_demo), "--output", str(output)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
    child = wait_for_a_child(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == f"edgecls tune: interrupted, {output} is as it was\n"
    assert list(tmp_path.iterdir()) == []
    wait_for_the_end_of(child)


def test_what_is_measured_ends_with_a_tune_that_was_killed(surface_demo: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "tune", "--model", str(surface_demo), "--output", str(tmp_path / "tuning.json")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    child = wait_for_a_child(process.pid)
    process.kill()
    process.wait()
    wait_for_the_end_of(child)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_process_that_crashes_is_a_failure_and_no_more(surface_demo: Path, number: signal.Signals) -> None:
    results: list[object] = []
    plan = Plan("onnxruntime", "cpu", "int8")
    measuring = threading.Thread(
        target=lambda: results.append(measure_in_a_process(surface_demo, plan, EngineSettings(), 30))
    )
    before = frozenset(children(os.getpid()))
    measuring.start()
    os.kill(wait_for_a_child(os.getpid(), before), number)
    measuring.join(30)
    (failure,) = results
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.plan) == ("crashed", plan)
    assert failure.why.startswith(f"its process was killed by {number.name}")


def test_a_process_that_hangs_is_ended(surface_demo: Path) -> None:
    plan = Plan("onnxruntime", "cpu", "int8")
    before = set(children(os.getpid()))
    failure = measure_in_a_process(surface_demo, plan, EngineSettings(), 30, limit_s=0.3)
    assert failure == Failure(plan, "hung", "did not end within 0.3 s")
    assert set(children(os.getpid())) <= before
