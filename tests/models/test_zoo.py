"""The zoo: networks by name, checkpoints of one form, weights of torchvision, and what does not fit."""

import json
from pathlib import Path

import pytest
import torch
from tiny_networks import tiny

from edge.preprocess import Colour
from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.start import start_from
from models.zoo import CLASSIFIERS, NETWORKS, Draws, describe
from models.zoo.deployed import Deployed

# Names and shapes of the state_dict of torchvision 0.28's resnet18, resnet50 and mobilenet_v3_small.
TORCHVISION = json.loads((Path(__file__).parent / "torchvision_weights.json").read_text())


@pytest.mark.parametrize("name", TORCHVISION)
def test_weights_of_torchvision_load(name: str) -> None:
    state = {key: torch.rand(shape) for key, shape in TORCHVISION[name].items()}
    module = NETWORKS[name].make(3, 1000)
    module.load_state_dict(state)  # strict: every name and shape
    assert all(torch.equal(module.state_dict()[key].float(), value.floor() if value.ndim == 0 else value)
               for key, value in state.items())  # fmt: skip


@pytest.mark.parametrize(("colour", "left"), [("BGR", ["fc.weight", "fc.bias"]), ("GRAY", ["fc.weight", "fc.bias"])])
def test_training_starts_from_a_file_of_torchvision(tmp_path: Path, colour: Colour, left: list[str]) -> None:
    state = {key: torch.rand(shape) for key, shape in TORCHVISION["resnet18"].items()}
    torch.save(state, tmp_path / "resnet18.pth")
    module = describe("resnet18", ("ok", "dent"), (64, 64), colour).make()
    assert start_from(module, tmp_path / "resnet18.pth") == left
    first = module.state_dict()["conv1.weight"]
    wanted = state["conv1.weight"] if colour == "BGR" else state["conv1.weight"].sum(1, keepdim=True)
    assert torch.equal(first, wanted)


def test_a_file_of_another_network_is_no_start(tmp_path: Path) -> None:
    torch.save({key: torch.rand(shape) for key, shape in TORCHVISION["resnet50"].items()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="give a file of the same network"):
        start_from(describe("resnet18", ("ok", "dent"), (64, 64), "BGR").make(), tmp_path / "x.pth")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("colour", ["GRAY", "BGR"])
def test_every_network_answers_and_comes_back_from_its_checkpoint(name: str, colour: Colour, tmp_path: Path) -> None:
    network = tiny(name, colour)
    torch.manual_seed(1)
    module = network.make().eval()
    image = torch.randint(0, 256, (2, *network.spec.shape[1:]), dtype=torch.uint8)
    save_checkpoint(tmp_path, Checkpoint(network, module, {"epochs": 3}, {"folder": "tiles"}))
    loaded = load_checkpoint(tmp_path)
    assert (loaded.network, loaded.training, loaded.data) == (network, {"epochs": 3}, {"folder": "tiles"})
    assert not loaded.module.training
    with torch.no_grad():
        scores = Deployed(network, module)(image)
        assert torch.equal(Deployed(loaded.network, loaded.module)(image), scores)
    assert scores.shape == ((2, 3) if name in CLASSIFIERS else (2, 3, 32, 32))
    if name in CLASSIFIERS:
        assert torch.allclose(scores.sum(1), torch.ones(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if issubclass(type(tiny(name).make()), Draws)])
def test_what_draws_gives_the_same_logits(name: str) -> None:
    module = tiny(name, "GRAY").make().eval()
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        logits, maps = module.draw(x)
        assert torch.equal(logits, module(x))
    assert maps.shape == (2, 2, 8, 8)


def test_published_networks_see_rgb_normalised_as_published() -> None:
    network = tiny("resnet18")
    black, blue = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    blue[:, 0] = 1  # the camera gives BGR
    assert network.prepare(black)[0, :, 0, 0].tolist() == pytest.approx(
        [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    )
    assert network.prepare(blue)[0, 2, 0, 0].item() == pytest.approx((1 - 0.406) / 0.225)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resnet34", (64, 64), {}), "there is no network 'resnet34': take one of defect-net, map-net, unet"),
        (
            ("mobilenetv3-small", (64, 64), {"width": 8}),
            "mobilenetv3-small has no setting width: its settings",
        ),
        (("resnet18", (64, 64), {"skips": 2}), "resnet18 has no setting skips: its settings are width"),
        (("unet-classifier", (48, 48), {}), "size 48x48: unet-classifier takes a multiple of 32, 32 or more"),
        (("unet-classifier", (64, 64), {"skips": 9}), "skips 9: 6 levels have 0 to 5 skips"),
        (("unet-classifier", (64, 64), {"levels": 1}), "levels 1: give 2 to 8"),
        (("defect-net", (64, 64), {"width": 0}), "width 0: give 1 or more"),
        (("resnet18", (16, 64), {}), "size 16x64: resnet18 takes 32 or more"),
    ],
)
def test_descriptions_that_make_no_sense(arguments: tuple[str, tuple[int, int], dict[str, int]], said: str) -> None:
    name, size, settings = arguments
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        describe(name, ("ok", "dent"), size, "GRAY", settings)


def saved(folder: Path, **changes: object) -> Path:
    """A run whose checkpoint is another one than it should be."""
    network = tiny("resnet18")
    save_checkpoint(folder, Checkpoint(network, network.make()))
    content = torch.load(folder / "checkpoint.pt", weights_only=True)
    torch.save({**content, **changes}, folder / "checkpoint.pt")
    return folder


def said_of(folder: Path) -> str:
    with pytest.raises(ValueError, match="checkpoint") as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    assert "does not exist: give the folder that `train` wrote" in said_of(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"no zip, no pickle")
    assert "is no checkpoint of torch, or a damaged one" in said_of(tmp_path)
    saved(tmp_path)
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    assert "is no checkpoint of torch, or a damaged one" in said_of(tmp_path)
    torch.save([1, 2], tmp_path / "checkpoint.pt")
    assert "holds list, not weights by name" in said_of(tmp_path)
    assert "does not fit this version of the workshop: train again" in said_of(saved(tmp_path, form="of last year"))


def test_checkpoints_that_do_not_fit_their_network(tmp_path: Path) -> None:
    whole = tiny("resnet18").make().state_dict()
    wider = describe("resnet18", ("ok", "dent", "划痕"), (32, 32), "BGR", {"width": 8}).make().state_dict()
    assert "does not fit resnet18: conv1.weight is 8x3x7x7, and 4x3x7x7 is asked for, and 100 more" in said_of(
        saved(tmp_path, state=wider)
    )
    without = {name: value for name, value in whole.items() if name != "fc.bias"}
    assert "does not fit resnet18: it has no fc.bias" in said_of(saved(tmp_path, state=without))
    assert "head.bias is not of this network" in said_of(saved(tmp_path, state={**whole, "head.bias": torch.ones(3)}))
    other = {**tiny("resnet18").as_json(), "name": "resnet34"}
    assert "there is no network 'resnet34'" in said_of(saved(tmp_path, network=other))


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    state = tiny("resnet18").make().state_dict()
    state["layer3.0.conv2.weight"][0, 0, 0, 0] = float("nan")
    assert "layer3.0.conv2.weight has values that are not finite numbers" in said_of(saved(tmp_path, state=state))
