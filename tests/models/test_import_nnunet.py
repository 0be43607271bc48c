"""Results folders of nnU-Net v2 become bundles that answer as PyTorch does, or one sentence says why they cannot."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from nnunet_results import LABELS, NEWER, PATCH, picture, with_layers, write_results
from onnxruntime import InferenceSession

from edge.backends import EngineSettings
from edge.bundle import load_bundle
from edge.engine import Engine
from edge.frame import Image
from edge.segmentation import MaskReader
from edge.sources.images import read_image
from models.__main__ import main
from models.mask_metrics import PixelCounts
from models.nnunet.network import DeployedNnUNet, build, normalised
from models.nnunet.plans import Normalisation
from models.nnunet.results import FINAL, read_results


def imported(results: Path, bundle: Path, *options: str) -> Path:
    assert main(["import-nnunet", str(results), "--out", str(bundle), *options]) == 0
    return bundle


def in_colour(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)


def mask_of(bundle: Path, image: Image, precision: Any = "fp32") -> Image:
    slot = Engine(load_bundle(bundle), EngineSettings(backend="onnxruntime", precision=precision)).slot()
    reader = MaskReader(slot, {})
    reader.preprocess(image)
    slot.infer()
    reader.read()
    return reader.mask


@pytest.mark.parametrize("older", [False, True], ids=["architecture", "UNet_class_name"])
def test_both_forms_of_the_plans_give_what_pytorch_gives(tmp_path: Path, older: bool) -> None:
    results = write_results(tmp_path / "results", older=older)
    bundle = imported(results, tmp_path / "tiles")
    manifest = load_bundle(bundle).manifest
    assert (manifest.task, manifest.labels, manifest.pass_label) == ("segmentation", list(LABELS), "background")
    spec = manifest.input.spec
    assert (spec.width, spec.height, spec.resize, spec.overlap, spec.colour) == (PATCH, PATCH, "tile", 32, "GRAY")
    assert manifest.provenance["training"] == {
        "by": "nnU-Net v2",
        "configuration": "2d",
        "network": "PlainConvUNet",
        "folds": {"0": {"trainer": "nnUNetTrainer_5epochs", "epochs": 5}},
        "patch": [PATCH, PATCH],
        "spacing": [1.0, 1.0],
        "scale": [1.0, 1.0],
        "normalisation": ["ZScoreNormalization"],
    }
    rng = np.random.default_rng(3)
    session = InferenceSession(str(bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    read = read_results(results, None, FINAL)
    network = DeployedNnUNet(build(read), read.configuration, (1.0, 1.0)).eval()
    tiles = np.stack([picture(rng)[0] for _ in range(6)])[..., None]
    softmax = network(torch.from_numpy(tiles)).softmax(1).numpy()
    mask, confidence = session.run(None, {"image": tiles})
    assert np.abs(confidence / 255 - softmax.max(1)).max() < 1 / 255
    sure = np.sort(softmax, 1)[:, -1] - np.sort(softmax, 1)[:, -2] > 1e-3
    assert (mask == softmax.argmax(1))[sure].all()


@pytest.mark.parametrize("older", [False, True], ids=["architecture", "UNet_class_name"])
def test_a_residual_encoder_is_built_as_nnunet_builds_it(tmp_path: Path, older: bool) -> None:
    arguments = {**NEWER["arch_kwargs"], "n_blocks_per_stage": [1, 2, 2]}
    del arguments["n_conv_per_stage"]
    network = ResidualEncoderUNet(1, num_classes=3, deep_supervision=True, **with_layers(arguments)).eval()
    changed: dict[str, Any] = {
        "architecture": {
            **NEWER,
            "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
            "arch_kwargs": arguments,
        }
    }
    if older:
        changed = {"UNet_class_name": "ResidualEncoderUNet", "n_conv_per_stage_encoder": [1, 2, 2]}
    results = write_results(tmp_path / "results", older=older, **changed)
    changed_checkpoint(results, lambda saved: saved.update(network_weights=network.state_dict()))
    manifest = load_bundle(imported(results, tmp_path / "tiles")).manifest
    assert manifest.provenance["training"]["network"] == "ResidualEncoderUNet"  # type: ignore[index]  # free form
    read = read_results(results, None, FINAL)
    x = torch.rand(1, 1, PATCH, PATCH)
    with torch.no_grad():
        assert torch.allclose(build(read)[0](x), network(x)[0], atol=1e-5)


def test_a_larger_frame_is_tiled_and_what_lies_across_tiles_is_found(tmp_path: Path) -> None:
    bundle = imported(write_results(tmp_path / "results"), tmp_path / "tiles")
    counts = PixelCounts(3)
    rng = np.random.default_rng(5)
    for _ in range(8):
        image, truth = picture(rng, 120, 200)
        counts.add(truth, mask_of(bundle, in_colour(image)))
    recall = counts.recall
    assert all(share is not None and share > 0.9 for share in recall), recall


def test_int8_draws_what_fp32_draws(tmp_path: Path) -> None:
    bundle = imported(write_results(tmp_path / "results"), tmp_path / "tiles", "--pass-label", "ok")
    data = tmp_path / "data"
    rng = np.random.default_rng(7)
    for number in range(12):
        image, truth = picture(rng, 100, 150)
        label = ["ok", "scratch", "hole"][truth.max()]
        for kind, content in (("images", image), ("masks", (truth > 0).astype(np.uint8) * 255)):
            (data / kind / label).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(data / kind / label / f"{number}.png"), content)
    assert main(["quantize", "--model", str(bundle), "--data", str(data), "--split", "all"]) == 0
    sizes = [(bundle / name).stat().st_size for name in ("model.onnx", "model.int8.onnx")]
    assert sizes[1] < sizes[0]
    same = []
    for path in sorted((data / "images").rglob("*.png")):
        image = read_image(path)
        same.append((mask_of(bundle, image) == mask_of(bundle, image, "int8")).mean())
    assert np.mean(same) > 0.99, same


def test_folds_are_averaged_as_nnunet_does_or_one_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = write_results(tmp_path / "results", folds=("0", "1"))
    tile = torch.from_numpy(np.random.default_rng(1).integers(0, 255, (1, PATCH, PATCH, 1), np.uint8))

    def logits(*folds: str) -> torch.Tensor:
        read = read_results(results, folds or None, FINAL)
        return DeployedNnUNet(build(read), read.configuration, (1.0, 1.0)).eval()(tile)

    assert torch.allclose(logits(), (logits("0") + logits("1")) / 2, atol=1e-5)
    assert not torch.allclose(logits("0"), logits("1"), atol=0.1)
    imported(results, tmp_path / "both")
    assert "folds 0, 1, averaged" in capsys.readouterr().out
    imported(results, tmp_path / "one", "--fold", "1")
    assert "fold 1 of" in capsys.readouterr().out
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("both", "one")]
    assert sizes[0] > 1.7 * sizes[1]


def test_colours_come_in_the_order_that_nnunet_reads(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", channels=3, scheme="RGBTo01Normalization")
    read = read_results(results, None, FINAL)
    network = DeployedNnUNet(build(read), read.configuration, (1.0, 1.0)).eval()
    bgr = np.random.default_rng(1).integers(0, 255, (1, PATCH, PATCH, 3), np.uint8)
    rgb = torch.from_numpy(bgr[..., ::-1].astype(np.float32) / 255).permute(0, 3, 1, 2)
    assert torch.allclose(network(torch.from_numpy(bgr)), build(read)[0](rgb), atol=1e-4)
    manifest = load_bundle(imported(results, tmp_path / "tiles")).manifest
    assert (manifest.input.colour, manifest.input.normalisation) == ("BGR", "fixed")
    assert (manifest.input.mean, manifest.input.std) == ([0.0] * 3, [1.0] * 3)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Normalisation("ZScoreNormalization"), lambda x: (x - x.mean()) / x.std()),
        (Normalisation("RescaleTo01Normalization"), lambda x: (x - x.min()) / (x - x.min()).max()),
        (Normalisation("RGBTo01Normalization"), lambda x: x / 255),
        (Normalisation("NoNormalization"), lambda x: x),
        (Normalisation("CTNormalization", 100, 30, 20, 200), lambda x: (x.clip(20, 200) - 100) / 30),
    ],
    ids=lambda one: getattr(one, "scheme", ""),
)
def test_every_scheme_is_nnunets(how: Normalisation, expected: Any) -> None:
    x = np.random.default_rng(1).integers(3, 250, (1, 1, 20, 30)).astype(np.float32)
    assert np.abs(normalised(torch.from_numpy(x), how).numpy() - expected(x)).max() < 1e-4
    flat = normalised(torch.full((1, 1, 4, 4), 7.0), how)
    assert bool(flat.isfinite().all())


def test_a_finer_camera_is_resampled_in_the_graph(tmp_path: Path) -> None:
    """Twice as many pixels for the same length: tiles of twice the size, and the mask is as large as the tile."""
    results = write_results(tmp_path / "results", spacing=[0.2, 0.2])
    bundle = imported(results, tmp_path / "tiles", "--spacing", "0.1")
    spec = load_bundle(bundle).manifest.input.spec
    assert (spec.width, spec.height, spec.overlap) == (2 * PATCH, 2 * PATCH, PATCH)
    counts = PixelCounts(3)
    rng = np.random.default_rng(5)
    for _ in range(6):
        image, truth = picture(rng, 240, 300, scale=2)
        counts.add(truth, mask_of(bundle, in_colour(image)))
    assert all(share is not None and share > 0.8 for share in counts.recall), counts.recall


def test_pictures_of_ones_own_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        image, _ = picture(np.random.default_rng(number), 100, 150)
        cv2.imwrite(str(pictures / f"{number}.png"), image)
    imported(write_results(tmp_path / "results"), tmp_path / "tiles", "--images", str(pictures), "--pass-label", "良品")
    assert "at most on 9 pictures" in capsys.readouterr().out
    manifest = load_bundle(tmp_path / "tiles").manifest
    assert manifest.labels[0] == manifest.pass_label
    assert manifest.labels == ["良品", "scratch", "hole"]


def changed_plans(results: Path, key: str, value: Any) -> None:
    plans = json.loads((results / "plans.json").read_text())
    where = plans["configurations"]["2d"] if key in plans["configurations"]["2d"] else plans
    where[key] = value
    (results / "plans.json").write_text(json.dumps(plans))


def changed_dataset(results: Path, **changed: Any) -> None:
    dataset = json.loads((results / "dataset.json").read_text())
    (results / "dataset.json").write_text(json.dumps(dataset | changed))


def changed_checkpoint(results: Path, change: Any) -> None:
    path = results / "fold_0" / FINAL
    saved = torch.load(path, weights_only=False)
    change(saved)
    torch.save(saved, path)


def older_version(results: Path) -> None:
    (results / "plans.json").unlink()
    (results / "plans.pkl").write_bytes(b"\x80\x04N.")


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("harm",)


def put_in_a_programme(saved: dict[str, Any]) -> None:
    saved["logging"] = Harmful()


def forget_the_weights(saved: dict[str, Any]) -> None:
    del saved["network_weights"]


def lose_a_number(saved: dict[str, Any]) -> None:
    saved["network_weights"]["decoder.seg_layers.1.bias"][0] = float("nan")


def cut_short(results: Path) -> None:
    path = results / "fold_0" / FINAL
    path.write_bytes(path.read_bytes()[:5000])


def stop_early(results: Path) -> None:
    (results / "fold_0" / FINAL).rename(results / "fold_0/checkpoint_best.pth")


WIDER = {**NEWER, "arch_kwargs": {**NEWER["arch_kwargs"], "features_per_stage": [8, 16, 32]}}
STRANGE = {**NEWER, "network_class_name": "dynamic_network_architectures.architectures.primus.Primus"}
FOREIGN = {**NEWER, "arch_kwargs": {**NEWER["arch_kwargs"], "nonlin": "os.system"}}

MISTAKES = {
    "v1": (older_version, "has results of nnU-Net v1 (plans.pkl), and only those of v2 can be read"),
    "no plans": (lambda r: (r / "plans.json").unlink(), "has no plans.json: give nnU-Net's results"),
    "no dataset": (lambda r: (r / "dataset.json").unlink(), "has no dataset.json"),
    "not json": (lambda r: (r / "plans.json").write_text("{"), "plans.json cannot be read ("),
    "no fold": (lambda r: (r / "fold_0" / FINAL).unlink(), "has no fold_*/checkpoint_final.pth: copy the folds, too"),
    "not ended": (stop_early, "training has not ended; give --checkpoint checkpoint_best.pth"),
    "cut short": (cut_short, "checkpoint_final.pth cannot be read ("),
    "a programme": (lambda r: changed_checkpoint(r, put_in_a_programme), "holds more than weights (posix.mkdir)"),
    "no weights": (lambda r: changed_checkpoint(r, forget_the_weights), "is no checkpoint of nnU-Net v2"),
    "nan": (
        lambda r: changed_checkpoint(r, lose_a_number),
        "has weights that are no numbers (decoder.seg_layers.1.bias)",
    ),
    "other network": (lambda r: changed_plans(r, "architecture", WIDER), "does not fit the network of plans.json: "),
    "unknown network": (
        lambda r: changed_plans(r, "architecture", STRANGE),
        "has the network Primus: PlainConvUNet and",
    ),
    "no layer": (
        lambda r: changed_plans(r, "architecture", FOREIGN),
        "nonlin is os.system, which is no layer of torch",
    ),
    "volumes": (lambda r: changed_plans(r, "patch_size", [16, 64, 64]), "is for volumes (patches of 16x64x64)"),
    "slices": (lambda r: changed_plans(r, "transpose_forward", [2, 0, 1]), "they were slices of volumes"),
    "no configuration": (lambda r: changed_plans(r, "configurations", {"3d": {}}), "has no configuration 2d, but 3d"),
    "scheme": (lambda r: changed_plans(r, "normalization_schemes", ["Mine"]), "normalises by Mine, which is none of"),
    "mask": (lambda r: changed_plans(r, "use_mask_for_norm", [True]), "normalises within a mask"),
    "no patch": (lambda r: changed_plans(r, "spacing", None), "is not as nnU-Net v2 writes it"),
    "regions": (lambda r: changed_dataset(r, labels={"background": 0, "all": [1, 2], "hole": 2}), "labels are regions"),
    "numbers": (lambda r: changed_dataset(r, labels={"background": 0, "hole": 2}), "labels has the numbers [0, 2]"),
    "channels": (
        lambda r: changed_dataset(r, channel_names={"0": "a", "1": "b"}),
        "names 2 channels: a camera gives 1",
    ),
    "one more label": (lambda r: changed_dataset(r, labels=LABELS | {"dent": 3}), "does not fit the network"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_clear_sentence_and_nothing_is_left_behind(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    break_it, said = MISTAKES[mistake]
    results = write_results(tmp_path / "results")
    break_it(results)
    assert main(["import-nnunet", str(results), "--out", str(tmp_path / "tiles")]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1, error
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_cascade_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = write_results(tmp_path / "results", previous_stage="3d_lowres")
    assert main(["import-nnunet", str(results), "--out", str(tmp_path / "tiles")]) == 1
    assert "is the second stage of a cascade" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--fold", "3"), "has no fold_3/checkpoint_final.pth: there is fold_0"),
        (("--input", "102x64"), "the width is 102 pixels for the network: give a multiple of 4"),
        (("--input", "wide"), "give width and height in pixels"),
        (("--overlap", "64"), "give 0 to 63, less than a tile"),
        (("--spacing", "-1"), "give a length, more than 0"),
        (("--pass-label", "hole"), "a defect has that name"),
        (("--images", "nothing"), "nothing has no pictures"),
    ],
)
def test_options_that_do_not_fit(
    options: tuple[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = write_results(tmp_path / "results")
    assert main(["import-nnunet", str(results), "--out", str(tmp_path / "tiles"), *options]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "tiles").exists()


def test_the_folder_above_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path / "Dataset042_Parts/nnUNetTrainer__nnUNetPlans__2d")
    assert main(["import-nnunet", str(tmp_path / "Dataset042_Parts"), "--out", str(tmp_path / "tiles")]) == 1
    assert "results below it: give one of nnUNetTrainer__nnUNetPlans__2d" in capsys.readouterr().err
    assert main(["import-nnunet", str(tmp_path / "nowhere"), "--out", str(tmp_path / "tiles")]) == 1
    assert "nowhere is not a folder" in capsys.readouterr().err


def test_a_bundle_that_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiles").mkdir()
    assert main(["import-nnunet", str(write_results(tmp_path / "results")), "--out", str(tmp_path / "tiles")]) == 1
    assert "tiles is there already: remove it" in capsys.readouterr().err
    assert not list((tmp_path / "tiles").iterdir())
