import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.backends import BACKENDS, BackendName, EngineSettings
from edge.bundle import load_bundle, sha256_of
from edge.engine import Engine
from edge.errors import BundleError


def change(bundle: Path, edit: Any) -> None:
    manifest = json.loads((bundle / "model.json").read_text())
    edit(manifest)
    (bundle / "model.json").write_text(json.dumps(manifest))


def test_every_shipped_bundle_is_whole() -> None:
    root = Path(__file__).resolve().parents[2] / "models"
    bundles = sorted(path.parent for path in root.glob("*/model.json"))
    assert bundles
    for path in bundles:
        bundle = load_bundle(path)
        assert bundle.manifest.name == path.name
        assert {"int8", "fp32"} <= set(bundle.precisions)
        assert bundle.manifest.metrics


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist: give the directory of a model bundle"):
        load_bundle(tmp_path / "nowhere")


def test_no_model_json(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no model\.json"):
        load_bundle(tmp_path)


def test_model_json_that_is_not_json(broken_bundle: Path) -> None:
    (broken_bundle / "model.json").write_text("{")
    with pytest.raises(BundleError, match=r"cannot be read .*restore the bundle"):
        load_bundle(broken_bundle)


def test_missing_file(broken_bundle: Path) -> None:
    (broken_bundle / "model.int8.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks the file model\.int8\.onnx"):
        load_bundle(broken_bundle)


def test_one_flipped_bit(broken_bundle: Path) -> None:
    file = broken_bundle / "model.int8.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.int8\.onnx is not the file that model\.json describes"):
        load_bundle(broken_bundle)


def test_a_file_outside_of_the_bundle(broken_bundle: Path) -> None:
    change(broken_bundle, lambda m: m["files"][0].update(path="../../etc/passwd"))
    with pytest.raises(BundleError, match="lies outside of it"):
        load_bundle(broken_bundle)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(pass_label="perfect"), "pass_label 'perfect' is not one of labels"),
        (lambda m: m["labels"].append("ok"), "the same label twice"),
        (lambda m: m["input"].update(channels=1), "colour BGR has 3 channels, not 1"),
        (lambda m: m["input"].update(layout="CHWN"), r"input\.layout"),
        (lambda m: m["input"].update(mean=[0.5]), "mean has 1 values, and the input 3 channels"),
        (lambda m: m["input"].update(std=[1, 0, 1]), "each value must be more than 0"),
        (lambda m: m["input"].update(dtype="float32"), "per_picture happens inside the graph"),
        (lambda m: m["files"][0].update(format="openvino"), "weights_sha256 belongs to"),
        (lambda m: m["files"][0].update(backend="tvm"), "backend"),
        (lambda m: m.update(task="detection"), "task"),
        (lambda m: m.pop("golden"), "golden: Field required"),
        (lambda m: m["golden"]["scores"].pop("int8"), "nothing for int8"),
        (lambda m: m["golden"]["scores"]["int8"].pop(), "golden inputs .* and golden scores do not fit"),
        (lambda m: m.update(schema="edgecls/bundle/9"), "schema"),
    ],
)
def test_what_model_json_may_not_say(broken_bundle: Path, edit: Any, message: str) -> None:
    change(broken_bundle, edit)
    with pytest.raises(BundleError, match=message):
        load_bundle(broken_bundle)


def test_golden_file_of_another_shape(broken_bundle: Path) -> None:
    np.savez_compressed(broken_bundle / "golden.npz", inputs=np.zeros((6, 8, 8, 3), np.uint8))
    change(broken_bundle, lambda m: m["golden"].update(sha256=sha256_of(broken_bundle / "golden.npz")))
    with pytest.raises(BundleError, match="do not fit the model's input"):
        load_bundle(broken_bundle)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_golden_scores_are_refused_by_every_engine(broken_bundle: Path, backend: BackendName) -> None:
    change(broken_bundle, lambda m: m["golden"]["scores"]["int8"][3].reverse())
    bundle = load_bundle(broken_bundle)
    with pytest.raises(
        BundleError, match=r"golden input 3 scores otherwise than its author measured \(difference 0\.\d"
    ):
        Engine(bundle, EngineSettings(backend=backend, precision="int8"))


def test_golden_inputs_notice_inverted_pictures(surface_demo: Path) -> None:
    """Golden inputs must notice a preprocessing mistake of this size, or they are of no use."""
    bundle = load_bundle(surface_demo)
    inverted = 255 - bundle.golden_inputs
    worst = 0.0
    slot = Engine(bundle, EngineSettings(precision="fp32")).slot()
    for image, wanted in zip(inverted, bundle.manifest.golden.scores["fp32"], strict=True):
        slot.input[0] = image
        slot.infer()
        worst = max(worst, float(np.abs(slot.scores[0] - wanted).max()))
    assert worst > bundle.manifest.golden.tolerance["int8"]
