"""Networks with fewer channels, or with zeros for weights."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from tiny_pictures import write_pictures

from edge.bundle import load_bundle
from models.__main__ import main
from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.narrow import channels_of, sparsity_of
from models.prune import prune_channels, prune_weights
from models.zoo import NETWORKS, Network, describe

LABELS = ("ok", "scratch", "hole")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def run_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    small = ["--network", "unet-classifier", "--width", "8", "--levels", "3", "--size", "32", "--threads", "1"]
    train = ["--epochs", "4", "--samples", "64", "--batch", "8", "--learning-rate", "0.01"]
    assert main(["train", "--data", str(data), "--out", str(out), *small, *train]) == 0
    return out


def small(name: str) -> Network:
    settings = {"levels": 3} if "levels" in NETWORKS[name].settings else {}
    return describe(name, LABELS, (64, 64), "GRAY", settings)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_of_the_zoo_loses_channels_and_is_made_again(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = small(name)
    module = network.make().eval()
    x = network.prepare(torch.rand(1, 1, 64, 64))
    before, shape = channels_of(module), module(x).shape
    prune_channels(network, module, 0.3)
    last = sum(width for width in (len(LABELS), len(LABELS) - 1) if name in ("unet-segmenter", "defect-net"))
    assert channels_of(module) == pytest.approx(0.7 * before, abs=0.03 * before + last)
    assert module(x).shape == shape
    save_checkpoint(tmp_path, Checkpoint(network, module, pruned={"share": 0.3}))
    with torch.no_grad():
        assert torch.equal(load_checkpoint(tmp_path).module(x), module(x))


def test_what_is_left_is_a_multiple() -> None:
    network = describe("unet-classifier", LABELS, (64, 64), "GRAY", {"width": 16, "levels": 3})
    module = network.make()
    prune_channels(network, module, 0.3, round_to=4)
    left = [one.out_channels for one in module.body.modules() if isinstance(one, torch.nn.Conv2d)]
    assert left == [8, 8, 20, 20, 44, 44, 20, 20, 8, 8]


def test_the_smallest_weights_of_the_whole_network_become_zero() -> None:
    module = small("unet-classifier").make()
    largest = max(float(one.detach().abs().max()) for one in module.parameters() if one.ndim > 1)
    prune_weights(module, 0.6)
    assert sparsity_of(module) == pytest.approx(0.6, abs=0.01)
    assert max(float(one.detach().abs().max()) for one in module.parameters() if one.ndim > 1) == largest


def test_a_pruned_run_is_exported_like_any_other(
    run_folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tune = tmp_path / "pruned", ["--epochs", "2", "--samples", "32", "--batch", "8", "--threads", "1"]
    assert main(["prune", "--run", str(run_folder), "--data", str(data), "--out", str(out), *tune, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["after"]["parameters"] < 0.6 * told["before"]["parameters"]
    assert told["after"]["channels"] == pytest.approx(0.7 * told["before"]["channels"], rel=0.1)
    assert [row["model"] for row in told["rows"]] == [
        f"{which} fp32 {engine}" for which in ("before", "pruned") for engine in ("onnxruntime", "openvino")
    ]
    assert all(row["smaller"] > 1.2 for row in told["rows"][2:])
    bundle = tmp_path / "bundle"
    assert main(["export", "--run", str(out), "--out", str(bundle)]) == 0
    assert load_bundle(bundle).manifest.provenance["pruning"]["share"] == 0.3  # type: ignore[index]  # free form


def test_zeros_stay_zero_while_the_rest_is_trained(
    run_folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tune = tmp_path / "sparse", ["--epochs", "2", "--samples", "32", "--batch", "8", "--threads", "1"]
    command = ["prune", "--run", str(run_folder), "--data", str(data), "--out", str(out), *tune]
    assert main([*command, "--unstructured", "--share", "0.6"]) == 0
    assert "60." in capsys.readouterr().out
    state, old = (torch.load(folder / "checkpoint.pt")["state"] for folder in (out, run_folder))
    assert set(state) == set(old)
    changed = state["head.weight"] != old["head.weight"]
    assert bool(changed.any()), "nothing was trained"
    bundle = tmp_path / "bundle"
    assert main(["export", "--run", str(out), "--out", str(bundle)]) == 0
    weights = [numpy_helper.to_array(one) for one in onnx.load(bundle / "model.onnx").graph.initializer]
    large = [one for one in weights if one.ndim == 4]
    share = sum(int((one == 0).sum()) for one in large) / sum(one.size for one in large)
    assert share == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--share", "1"), "--share 1.0: give more than 0 and less than 1"),
        (("--out", "RUN"), "is the run itself: give another folder"),
        (("--data", "NOTHING"), "is not a folder"),
        (("--run", "NOTHING"), "checkpoint.pt does not exist"),
    ],
)
def test_mistakes(  # noqa: PLR0917  # fixtures
    arguments: tuple[str, str],
    said: str,
    run_folder: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"RUN": str(run_folder), "NOTHING": str(tmp_path / "nothing")}
    asked = {"--run": str(run_folder), "--data": str(data), "--out": str(tmp_path / "out")}
    asked[arguments[0]] = places.get(arguments[1], arguments[1])
    assert main(["prune", *(word for pair in asked.items() for word in pair)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_network_is_still_refused(run_folder: Path, tmp_path: Path) -> None:
    saved = torch.load(run_folder / "checkpoint.pt")
    saved["pruned"] = {"share": 0.3}
    name = next(name for name, value in saved["state"].items() if value.ndim == 4)
    saved["state"][name] = saved["state"][name][:, :, :1, :1]
    torch.save(saved, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=f"does not fit unet-classifier: {name}"):
        load_checkpoint(tmp_path)
