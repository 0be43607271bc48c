"""Cuts of pictures as training samples, and the network that can learn from them."""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edge.preprocess import InputSpec  # noqa: E402  # they need torch
from models.__main__ import main  # noqa: E402
from models.crops import CropSampler  # noqa: E402
from models.dataset import Picture, read_dataset  # noqa: E402
from models.zoo import Network, describe  # noqa: E402
from models.zoo.map_net import without_light  # noqa: E402

LABELS = ("ok", "hole", "chip")
SPEC = InputSpec(192, 96, "GRAY", "letterbox", fill=70)
HOLE, CHIP = 25, 40
"""Grey levels of the defects; the surface has 120."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts, upright and lying, some with a hole of 12 px in the middle, some with a chip at the upper edge."""
    root = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(5)
    for label in LABELS:
        (root / "images" / label).mkdir(parents=True)
        (root / "masks" / label).mkdir(parents=True)
        for number in range(6):
            height, width = ((300, 200), (160, 380))[number % 2]
            image = rng.normal(120, 4, (height, width)).clip(0, 255).astype(np.uint8)
            mask = np.zeros_like(image)
            if label == "hole":
                cv2.circle(mask, (width // 2, height // 2), 6, 255, -1)
                image[mask > 0] = HOLE
            if label == "chip":
                mask[:10, 60:90] = 255
                image[mask > 0] = CHIP
            cv2.imwrite(str(root / "images" / label / f"{number}.png"), image)
            if label != "ok":
                cv2.imwrite(str(root / "masks" / label / f"{number}.png"), mask)
    return root


@pytest.fixture(scope="module")
def pictures(folder: Path) -> list[Picture]:
    return list(read_dataset(folder).pictures)


def sampler(pictures: list[Picture]) -> CropSampler:
    return CropSampler(pictures, LABELS, SPEC, np.random.default_rng(7), crop=64)


def test_a_sample_shows_its_defect_where_the_target_says(pictures: list[Picture]) -> None:
    draw = sampler(pictures)
    seen = set()
    for _ in range(60):
        sample = draw.draw()
        assert sample.image.shape == (64, 64, 1)
        assert sample.target.shape == (2, 16, 16)
        assert sample.has_target
        seen.add(sample.label)
        if sample.label == 0:
            assert not sample.target.any()
            continue
        drawn, image = sample.classes == sample.label, sample.image[..., 0]
        assert sample.target[sample.label - 1].max() > 0.2
        assert not np.delete(sample.target, sample.label - 1, 0).any()
        surface = (sample.classes == 0) & ~np.isclose(image, SPEC.fill / 255)
        if drawn.sum() > 8:
            assert image[drawn].mean() < 0.75 * np.median(image[surface])
    assert seen == {0, 1, 2}


def test_beside_the_picture_is_the_fill_whatever_the_exposure(pictures: list[Picture]) -> None:
    upright = [p for p in pictures if int(p.image.stem) % 2 == 0]
    wide = CropSampler(upright, LABELS, SPEC, np.random.default_rng(7), crop=192)
    sides = [wide.draw().image[:, [0, -1], 0] for _ in range(20)]
    filled = [np.isclose(side, SPEC.fill / 255).all(0).any() for side in sides]
    assert sum(filled) >= 15, "a picture of 64 px does not fill a cut of 192"


def test_a_pasted_defect_keeps_its_distance_to_the_edge_that_it_was_at(pictures: list[Picture]) -> None:
    chips = sampler(pictures)
    distances = []
    for _ in range(40):
        shown = chips._paste(chips._pick(2), chips._pick(0).image)
        rows = np.flatnonzero((shown.mask > 127).any(1))
        distances.append(min(rows[0], shown.mask.shape[0] - 1 - rows[-1]))
    assert max(distances) <= 1


def test_light_and_exposure_are_taken_away() -> None:
    torch.manual_seed(1)
    surface = 0.5 + 0.05 * torch.randn(1, 1, 96, 192)
    lamp = torch.linspace(0.5, 1.5, 192)[None, None, None]
    plain, lit = without_light(surface)[:, :1], without_light(surface * lamp * 0.8)[:, :1]
    assert np.corrcoef(plain.flatten().numpy(), lit.flatten().numpy())[0, 1] > 0.97
    assert plain.std().item() == pytest.approx(lit.std().item(), rel=0.05)


def test_the_description_keeps_what_is_beside_the_picture() -> None:
    network = describe("map-net", LABELS, (192, 96), "GRAY", None, "letterbox", 70)
    again = Network.from_json(network.as_json())
    assert again == network
    assert (again.spec.fill, again.spec.resize) == (70, "letterbox")


def test_training_on_cuts_leaves_a_run_and_a_bundle(folder: Path, tmp_path: Path) -> None:
    command = ["train", "--data", str(folder), "--out", str(tmp_path / "run"), "--network", "map-net", "--width", "4"]
    command += ["--size", "192x96", "--resize", "letterbox", "--fill", "70", "--crop", "64", "--epochs", "2"]
    assert main([*command, "--samples", "16", "--batch", "8", "--threads", "1"]) == 0
    assert main(["export", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "bundle")]) == 0
    assert '"fill": 70' in (tmp_path / "bundle" / "model.json").read_text()


def test_defects_without_masks_are_left_out_of_cuts(pictures: list[Picture]) -> None:
    bare = [replace(p, mask=None) if p.label == "chip" and p.image.stem != "0" else p for p in pictures]
    draw = sampler(bare)
    chips = [one for one in (draw.draw() for _ in range(60)) if one.label == 2]
    assert chips
    assert all(one.target[1].max() > 0.2 for one in chips)
    with pytest.raises(ValueError, match="no training picture shows chip with a mask: draw some, or train without"):
        sampler([replace(p, mask=None) if p.label == "chip" else p for p in pictures])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--crop", "100"], "--crop 100: give 64 or more, a multiple of 32, with --resize letterbox"),
        (["--crop", "64", "--resize", "stretch"], "a multiple of 32, with --resize letterbox"),
        (["--fill", "300"], "--fill 300: give a grey level, 0 to 255"),
        (["--size", "wide"], "wide: give a size such as 256 or 384x224"),
    ],
)
def test_mistakes_about_cuts_are_told(
    wrong: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", str(folder), "--out", str(tmp_path / "run"), "--network", "map-net"]
    with pytest.raises(SystemExit) as left:
        sys.exit(main([*command, "--size", "192x96", "--resize", "letterbox", *wrong]))
    assert left.value.code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
