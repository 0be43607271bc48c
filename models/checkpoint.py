"""A trained network on disk: `checkpoint.pt` in the folder of a run, the same form for every network of the zoo."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.narrow import narrow
from models.zoo import Network

FILE = "checkpoint.pt"
FORM = "edgecls/checkpoint/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained network.

    Attributes:
        network: what it is.
        module: the network itself, with its weights.
        training: the settings of its training, for the bundle's provenance.
        data: what it was trained on, the same.
        pruned: how it was made smaller since, the same; empty: it was not.
    """

    network: Network
    module: nn.Module
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    pruned: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(run_folder: Path, checkpoint: Checkpoint) -> None:
    """Write it, in one step.

    Raises:
        OSError: the folder cannot be written.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    new = run_folder / f"{FILE}.new"
    torch.save(
        {
            "form": FORM,
            "network": checkpoint.network.as_json(),
            "state": checkpoint.module.state_dict(),
            "training": dict(checkpoint.training),
            "data": dict(checkpoint.data),
            "pruned": dict(checkpoint.pruned),
        },
        new,
    )
    new.replace(run_folder / FILE)


def load_checkpoint(run_folder: Path) -> Checkpoint:
    """The checkpoint of a run, its network in evaluation mode.

    Raises:
        ValueError: there is none, it is not one of ours, or its weights do not fit its network or are not finite.
    """
    path = run_folder / FILE
    saved = read_weights(path, "give the folder that `train` wrote")
    if saved.get("form") != FORM:
        raise ValueError(f"{path} does not fit this version of the workshop: train again")
    try:
        network = Network.from_json(saved["network"])
        module, state = network.make(), saved["state"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit this version of the workshop ({error}): train again") from error
    pruned = saved.get("pruned", {})
    if pruned:
        narrow(module, state)
    fill(module, state, f"{path} does not fit {network.name}")
    return Checkpoint(network, module.eval(), saved.get("training", {}), saved.get("data", {}), pruned)


def read_weights(path: Path, remedy: str) -> dict[str, Any]:
    """What torch saved in a file: weights and plain values alone, so that a file of a stranger cannot run anything.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: {remedy}") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint of torch, or a damaged one: {remedy}") from error
    if not isinstance(saved, dict):
        raise ValueError(  # noqa: TRY004  # a mistake of whoever named the file, not of the program
            f"{path} holds {type(saved).__name__}, not weights by name: {remedy}"
        )
    return saved


def fill(module: nn.Module, state: Mapping[str, Any], what: str) -> None:
    """Give a network weights by name.

    Args:
        module: filled.
        state: weights.
        what: how the sentence of an error begins.

    Raises:
        ValueError: they do not fit, or are not finite.
    """
    wanted = module.state_dict()
    problems = [f"it has no {name}" for name in wanted if name not in state]
    problems += [f"{name} is not of this network" for name in state if name not in wanted]
    problems += [
        f"{name} is {_shape(state[name])}, and {_shape(wanted[name])} is asked for"
        for name in wanted
        if name in state and _shape(state[name]) != _shape(wanted[name])
    ]
    if problems:
        more = f", and {len(problems) - 1} more such" if len(problems) > 1 else ""
        raise ValueError(f"{what}: {problems[0]}{more}")
    bad = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise ValueError(f"{what}: {bad[0]} has values that are not finite numbers: the training failed, train again")
    module.load_state_dict(dict(state))


def _shape(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return "x".join(map(str, value.shape)) or "one number"
