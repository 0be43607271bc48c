"""The workshop's way to a model that draws masks, on a few tiny pictures: commands, figures, mistakes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge.bundle import load_bundle
from edge.preprocess import InputSpec
from models.__main__ import main
from models.augment import Sample
from models.dataset import Picture, read_dataset, truth_mask
from models.mask_metrics import PixelCounts
from models.train_segmenter import label_weights, segmenter_losses
from models.zoo import describe
from models.zoo.unet import Segmenter, UNet, UNetClassifier


def write_pictures(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for label in ("ok", "hole"):
        (folder / "images" / label).mkdir(parents=True)
        (folder / "masks" / label).mkdir(parents=True)
        for number in range(8):
            picture = rng.integers(90, 150, (40, 48), np.uint8)
            mask = np.zeros_like(picture)
            if label == "hole":
                mask[10:26, 8 + number : 24 + number] = 255
                picture[mask > 0] = 10
                cv2.imwrite(str(folder / "masks" / label / f"{number}.png"), mask)
            cv2.imwrite(str(folder / "images" / label / f"{number}.png"), picture)
    return folder


def test_from_pictures_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run, bundle = write_pictures(tmp_path / "data"), tmp_path / "run", tmp_path / "bundle"
    small = ("--size", "32", "--width", "4", "--levels", "3", "--threads", "1")
    train = ("--epochs", "6", "--samples", "64", "--batch", "8", "--learning-rate", "0.02")
    assert main(["train-segmenter", "--data", str(data), "--out", str(run), *small, *train]) == 0
    assert main(["export", "--run", str(run), "--out", str(bundle)]) == 0
    assert main(["quantize", "--model", str(bundle), "--data", str(data), "--count", "8"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--model", str(bundle), "--data", str(data), "--split", "all", "--json", "--keep"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert set(results) == {f"{p} {b}" for p in ("fp32", "int8") for b in ("onnxruntime", "openvino")}
    for figures in results.values():
        assert figures["iou"]["hole"] > 0.5, figures
        assert figures["found"]["hole"] == figures["named"]["hole"] == 1
    manifest = load_bundle(bundle).manifest
    assert (manifest.task, manifest.labels, manifest.pass_label) == ("segmentation", ["ok", "hole"], "ok")
    assert manifest.metrics["all"] == results
    assert main(["evaluate", "--model", str(bundle), "--data", str(data), "--precision", "int8"]) == 0
    assert "| int8 openvino | hole |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "40"), "size 40x40: unet-segmenter takes a multiple of 32, 32 or more"),
        (("--levels", "1"), "levels 1: give 2 to 8"),
        (("--skips", "5"), "skips 5: 5 levels have 0 to 4 skips"),
    ],
)
def test_settings_that_make_no_sense(
    arguments: tuple[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train-segmenter", "--data", str(tmp_path), "--out", str(run), *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not run.exists()


def test_a_defect_without_masks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_pictures(tmp_path / "data")
    for mask in (data / "masks/hole").iterdir():
        mask.unlink()
    assert main(["train-segmenter", "--data", str(data), "--out", str(tmp_path / "run")]) == 1
    assert "has no masks of hole: draw some, or remove these pictures" in capsys.readouterr().err


def test_a_pixel_counts_more_the_rarer_its_label_is(tmp_path: Path) -> None:
    data = read_dataset(write_pictures(tmp_path))
    weights = label_weights(describe("unet-segmenter", data.labels, (64, 64), "GRAY"), list(data.pictures))
    share = 16 * 16 / (40 * 48)
    assert weights.tolist() == pytest.approx([1, share**-0.7], rel=0.02)


class Drawn(torch.nn.Module):  # type: ignore[misc]  # torch is unchecked
    """Draws what it was told, whatever it sees."""

    def __init__(self, holes: list[int]) -> None:
        super().__init__()
        bottom = (torch.arange(64) >= 64 - torch.tensor(holes)[:, None]).float()
        self.holes = bottom[:, None, :, None].expand(-1, 1, -1, 64)

    def forward(self, _x: torch.Tensor) -> torch.Tensor:
        return torch.cat([1 - self.holes, self.holes], 1) * 20 - 10


def test_what_is_drawn_onto_a_good_picture_costs_as_much_as_beside_a_defect() -> None:
    network = describe("unet-segmenter", ("ok", "hole"), (64, 64), "GRAY")
    half = np.repeat(np.arange(64)[:, None] >= 32, 64, 1).astype(np.uint8)
    image, cells = np.zeros((64, 64, 1), np.float32), np.zeros((1, 16, 16), np.float32)
    samples = [Sample(image, cells, half, 1, True), Sample(image, cells, half * 0, 0, True)]
    costs = [segmenter_losses(network, Drawn(drawn), samples, torch.tensor([1.0, 4.0])) for drawn in (
        [32, 0], [48, 0], [32, 16], [16, 0]
    )]  # fmt: skip
    overlap = [cost["dice_loss"].item() for cost in costs]
    assert overlap == pytest.approx([0, 0.2, 0.2, 1 / 3], abs=0.01)
    per_pixel = [cost["pixel_loss"].item() for cost in costs]
    assert per_pixel == pytest.approx([0, 20 / 8, 20 / 8, 4 * 20 / 8], abs=0.01), "a missed pixel counts 4 times"


def test_only_the_shallow_skips_are_kept() -> None:
    x = torch.rand(2, 1, 32, 32)
    everything, shallow = UNet(1, 4, 5), UNet(1, 4, 5, skips=2)
    assert everything(x).shape == shallow(x).shape == (2, 4, 32, 32)
    count = [sum(weight.numel() for weight in network.parameters()) for network in (everything, shallow)]
    assert count[0] > count[1]
    assert shallow.decoder[0][0].in_channels == 32, "of the deepest one nothing is left but what comes from below"
    assert shallow.decoder[-1][0].in_channels == 8 + 4


@pytest.mark.parametrize("stride", [1, 2])
def test_a_mask_is_as_large_as_the_picture(stride: int) -> None:
    network = Segmenter(1, 3, 4, 3, stride=stride)
    x = torch.rand(2, 1, 32, 48)
    assert network.body(x).shape == (2, 4, 32 // stride, 48 // stride)
    assert network(x).shape == (2, 3, 32, 48)


def test_one_body_for_pictures_and_for_pixels() -> None:
    x = torch.rand(2, 3, 32, 32)
    pixels, picture = Segmenter(3, 5, 4, 3), UNetClassifier(3, 5, 4, 3)
    picture.body.load_state_dict(pixels.body.state_dict())
    assert pixels(x).shape == (2, 5, 32, 32)
    assert picture(x).shape == (2, 5)


def test_figures_of_masks_that_are_known() -> None:
    counts = PixelCounts(3)
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    counts.add(truth, np.array([[0, 1, 1, 0]], np.uint8))
    assert counts.iou == [pytest.approx(1 / 3), pytest.approx(1 / 3), None]
    assert counts.recall == [0.5, 0.5, None]
    assert counts.mean_iou == pytest.approx(1 / 3)


@pytest.mark.parametrize(("resize", "box"), [("stretch", (16, 8, 32, 16)), ("letterbox", (16, 20, 32, 8))])
def test_the_truth_lies_where_the_model_sees_it(tmp_path: Path, resize: str, box: tuple[int, int, int, int]) -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[25:75, 50:150] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    picture = Picture(tmp_path / "x.png", tmp_path / "mask.png", "hole", "x", 0, "val")
    spec = InputSpec(64, 64 if resize == "letterbox" else 32, "GRAY", resize)  # type: ignore[arg-type]  # a str
    found = cv2.boundingRect((truth_mask(picture, spec, ("ok", "hole")) == 1).astype(np.uint8))
    expected = (16, 24, 32, 16) if resize == "letterbox" else box
    assert np.abs(np.subtract(found, expected)).max() <= 1
