"""The published networks: their sizes, and the weights that benchmarks give them."""

import numpy as np
import numpy.typing as npt
import pytest


@pytest.fixture(autouse=True)
def torch() -> None:
    pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11_689_512), ("resnet50", 25_557_032), ("mobilenetv3-small", 2_542_856)]
)
def test_a_network_has_as_many_parameters_as_the_published_one(name: str, parameters: int) -> None:
    from models.zoo import NETWORKS

    assert sum(p.numel() for p in NETWORKS[name].make(3, 1000).parameters()) == parameters


def scores_of(seed: int) -> npt.NDArray[np.float32]:
    import torch

    from models.random_weights import Scores, normalised, randomise, rendered
    from models.zoo.mobilenet import MobileNetV3Small

    network = MobileNetV3Small(3, 4)
    randomise(network, seed, 64)
    with torch.no_grad():
        scores: npt.NDArray[np.float32] = Scores(network)(normalised(rendered(64, 1000, 24))).numpy()
    return scores


def test_random_weights_tell_pictures_apart_and_are_never_sure() -> None:
    scores = scores_of(3)
    assert scores.shape == (24, 4)
    assert np.allclose(scores.sum(1), 1, atol=1e-5)
    assert (scores.std(0) > 0.03).all(), "a label whose score never changes says nothing about the engine"
    assert np.median(scores.max(1)) < 0.95
    assert len(set(scores.argmax(1).tolist())) >= 3


def test_random_weights_come_from_the_seed() -> None:
    first, again, other = scores_of(3), scores_of(3), scores_of(4)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_activations_neither_vanish_nor_explode() -> None:
    import torch

    from models.random_weights import normalised, randomise, rendered
    from models.zoo.resnet import resnet18

    network = resnet18(3, 4)
    randomise(network, 5, 64)
    deviations: list[float] = []
    for stage in (block for number in range(1, 5) for block in network.get_submodule(f"layer{number}")):
        stage.register_forward_hook(lambda _module, _inputs, output: deviations.append(output.std().item()))
    with torch.no_grad():
        network(normalised(rendered(64, 1000, 8)))
    assert len(deviations) == 8
    assert all(0.1 < deviation < 10 for deviation in deviations)
