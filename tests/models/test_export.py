"""`export`: every form of every network answers as PyTorch does; what cannot be exported is said in one sentence."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from tiny_networks import tiny

from edge.backends import BACKENDS, Plan, check_golden, load_backend
from edge.backends.plan import EngineSettings
from edge.bundle import load_bundle
from edge.preprocess import Colour
from models.__main__ import main
from models.checkpoint import Checkpoint, save_checkpoint
from models.export import export_onnx
from models.onnx_export import Shapes, differences, write_onnx
from models.random_weights import randomise, rendered
from models.zoo import NETWORKS, Network, describe
from models.zoo.deployed import answers


def trained(name: str, colour: Colour = "BGR") -> Checkpoint:
    """A tiny network with statistics that matter."""
    network = tiny(name, colour)
    torch.manual_seed(3)
    module = network.make()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_var, 0.2, 0.5)
            torch.nn.init.normal_(part.running_mean, std=0.2)
    return Checkpoint(network, module.eval())


def telling(name: str) -> Checkpoint:
    """A tiny network whose scores differ much from picture to picture."""
    network = tiny(name)
    module = network.make()
    randomise(module, 1, network.spec.width)
    return Checkpoint(network, module)


def pictures(network: Network, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *network.spec.shape[1:]), np.uint8)


@pytest.mark.parametrize(
    ("name", "shapes", "opset"),
    [
        ("defect-net", "fixed", 18),
        ("unet-segmenter", "fixed", 18),
        *((name, shapes, opset) for name in NETWORKS for shapes, opset in (("all", 18), ("batch", 13))),
    ],
)
def test_every_network_in_every_form(name: str, shapes: Shapes, opset: int, tmp_path: Path) -> None:
    checkpoint = trained(name, "GRAY" if opset == 13 else "BGR")
    inputs = pictures(checkpoint.network)
    operators, found = export_onnx(checkpoint, tmp_path / "x.onnx", inputs, shapes, opset)
    assert operators.after.total() <= operators.before.total()
    assert max(found.values()) < 1e-4
    model = onnx.load(tmp_path / "x.onnx")
    assert [one.version for one in model.opset_import if one.domain == ""] == [opset]
    sides = [side.dim_param or side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
    channels = checkpoint.network.spec.channels
    assert (
        sides
        == {
            "fixed": [1, 32, 32, channels],
            "batch": ["batch", 32, 32, channels],
            "all": ["batch", "height", "width", channels],
        }[shapes]
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.onnx"]


def test_a_batch_of_larger_pictures_is_answered_as_by_pytorch(tmp_path: Path) -> None:
    checkpoint = telling("resnet18")
    export_onnx(checkpoint, tmp_path / "x.onnx", pictures(checkpoint.network), "all")
    batch = np.ascontiguousarray(rendered(80, 5, 5)[:, :, :48])
    (given,) = InferenceSession(str(tmp_path / "x.onnx")).run(None, {"image": batch})
    with torch.no_grad():
        wanted = answers(checkpoint.network, checkpoint.module, torch.from_numpy(batch)).numpy()
    assert np.abs(given - wanted).max() < 1e-5
    assert wanted.std(0).max() > 1e-3, "scores that never change would be the same whatever the export did"


@pytest.mark.parametrize("shapes", ["batch", "all"])
def test_the_daemon_takes_a_bundle_that_leaves_sides_open(shapes: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run", trained("resnet18"))
    out = tmp_path / "bundle"
    assert main(["export", "--run", str(tmp_path / "run"), "--out", str(out), "--shapes", shapes]) == 0
    bundle = load_bundle(out)
    for backend in BACKENDS:
        check_golden(load_backend(bundle, Plan(backend, "cpu", "fp32"), EngineSettings()), bundle)


def test_the_name_is_that_of_the_folder_as_far_as_a_name_may_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "run", trained("defect-net"))
    command = ["export", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "Tiles, line 3")]
    assert main(command) == 0
    assert load_bundle(tmp_path / "Tiles, line 3").manifest.name == "tiles-line-3"
    assert main([*command, "--name", "Tiles"]) == 1
    assert "--name Tiles: give small letters, digits, dots and dashes" in capsys.readouterr().err


def test_the_table_of_operators_and_the_comparison_are_told_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("ok", "dent", "划痕"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(20):
            picture = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "data" / label / f"{number}.png"), picture)
    save_checkpoint(tmp_path / "run", trained("defect-net"))
    command = ["export", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]
    assert main([*command, "--data", str(tmp_path / "data"), "--count", "4", "--opset", "17"]) == 0
    said = capsys.readouterr().out
    assert "| Constant |" in said
    exported, simplified = (int(cell) for cell in said.split("| all |")[1].split("\n")[0].strip(" |").split(" | "))
    assert simplified < exported
    assert "on 4 photographs and 6 rendered pictures" in said
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert manifest.labels == ["ok", "dent", "划痕"]
    kept = manifest.provenance["export"]
    assert isinstance(kept, dict)
    assert kept["compared_on"] == {"photographs": 4, "rendered": 6}
    assert kept["largest_difference"]["scores"] < 1e-4


def test_weights_of_elsewhere_become_a_bundle(tmp_path: Path) -> None:
    network = describe("mobilenetv3-small", ("dent", "ok"), (64, 64), "BGR")
    module = network.make()
    randomise(module, 1, 64)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "x.pth")
    (tmp_path / "labels.txt").write_text("dent\nok\n", encoding="utf-8")
    command = ["export", "--weights", str(tmp_path / "x.pth"), "--network", "mobilenetv3-small", "--size", "64"]
    out = tmp_path / "bundle"
    assert main([*command, "--labels", str(tmp_path / "labels.txt"), "--pass-label", "ok", "--out", str(out)]) == 0
    bundle = load_bundle(out)
    assert (bundle.labels, bundle.manifest.pass_label) == (("dent", "ok"), "ok")
    with torch.no_grad():
        wanted = answers(network, module, torch.from_numpy(bundle.golden_inputs)).numpy()
    assert np.abs(np.array(bundle.manifest.golden.scores["fp32"]) - wanted).max() < 1e-4


def test_a_network_in_training_mode_is_refused(tmp_path: Path) -> None:
    checkpoint = trained("defect-net")
    checkpoint.module.train()
    with pytest.raises(ValueError, match=r"is left in training mode .*: .*call eval"):
        export_onnx(checkpoint, tmp_path / "x.onnx", pictures(checkpoint.network))
    checkpoint.module.eval()
    checkpoint.module.dropout.train()  # one layer is enough
    with pytest.raises(ValueError, match=r"is left in training mode \(Dropout"):
        export_onnx(checkpoint, tmp_path / "x.onnx", pictures(checkpoint.network))
    assert list(tmp_path.iterdir()) == []


class Bessel(torch.nn.Module):  # type: ignore[misc]  # torch is unchecked
    def forward(self, x: object) -> object:
        return torch.special.bessel_j0(x.float().mean((1, 2)))  # type: ignore[attr-defined]  # torch is unchecked


@pytest.mark.parametrize("opset", [18, 13])
def test_an_operator_that_onnx_does_not_have_is_named(opset: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be written as ONNX.*bessel_j0") as caught:
        write_onnx(Bessel().eval(), torch.zeros(1, 4, 4, 3, dtype=torch.uint8), tmp_path / "x.onnx", opset=opset)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_answers_otherwise_is_thrown_away(tmp_path: Path) -> None:
    checkpoint = telling("resnet18")
    module, calls = checkpoint.module, []

    def changed(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return output.roll(len(calls), 1)

    module.register_forward_hook(changed)
    with pytest.raises(ValueError, match="scores of the exported model differ from PyTorch by"):
        export_onnx(checkpoint, tmp_path / "x.onnx", pictures(checkpoint.network))
    assert list(tmp_path.iterdir()) == []


class Means(torch.nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Two logits: mean times `gain`, and off by so much."""

    def __init__(self, gain: float, off: float = 0.0) -> None:
        super().__init__()
        self.gain, self.off = gain, off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.float().mean((1, 2, 3)) * self.gain
        return torch.stack([mean + self.off, mean], 1)


@pytest.mark.parametrize(
    ("gain", "off", "near"),
    [(0.01, 0.0009, True), (0.01, 0.0011, False), (1, 0.009, True), (1, 0.011, False), (1, np.nan, False)],
)
def test_large_logits_may_lie_off_by_a_ten_thousandth(gain: float, off: float, near: bool, tmp_path: Path) -> None:
    pictures = np.full((2, 8, 8, 1), 100, np.uint8)
    write_onnx(Means(gain).eval(), torch.from_numpy(pictures[:1]), tmp_path / "x.onnx", output="logits")
    (found,) = differences(Means(gain, off), tmp_path / "x.onnx", pictures, "fixed").values()
    assert found[0] == pytest.approx(np.inf if np.isnan(off) else off, rel=0.02)
    assert found[1] is near


def test_mistakes_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*command: object) -> str:
        assert main(["export", *(str(word) for word in command), "--out", str(tmp_path / "a/bundle")]) == 1
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1
        assert not (tmp_path / "a").exists(), "a half-written bundle was left behind"
        return error

    weights = tmp_path / "x.pth"
    torch.save(describe("resnet18", ("a", "b"), (32, 32), "BGR", {"width": 4}).make().state_dict(), weights)
    assert "say whose they are with --network and --labels" in said("--weights", weights)
    resnet = ("--weights", weights, "--network", "resnet18", "--width", 4)
    assert "give two or more, each once" in said(*resnet, "--labels", "ok,ok")
    assert "fc.weight is 2x32, and 3x32 is asked for, and 1 more such" in said(*resnet, "--labels", "a,b,c")
    assert "does not fit resnet50" in said("--weights", weights, "--network", "resnet50", "--labels", "a,b")
    assert "--pass-label ok is not one of the labels a, b" in said(*resnet, "--labels", "a,b", "--pass-label", "ok")
    assert "opset 9: give 13 or later" in said(*resnet, "--labels", "a,b", "--opset", 9)
    assert "with opset 99" in said(*resnet, "--labels", "a,b", "--opset", 99)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    assert "is no checkpoint of torch" in said("--weights", tmp_path / "whole.pth", *resnet[2:], "--labels", "a,b")


def test_a_bundle_stays_whole_when_the_next_export_fails(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run", trained("resnet18"))
    out = tmp_path / "bundle"
    assert main(["export", "--run", str(tmp_path / "run"), "--out", str(out)]) == 0
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert main(["export", "--run", str(tmp_path / "run"), "--out", str(out), "--opset", "99"]) == 1
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert main(["export", "--run", str(tmp_path / "run"), "--out", str(out), "--version", "2.0.0"]) == 0
    assert json.loads((out / "model.json").read_text())["version"] == "2.0.0"
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
