"""A results folder of nnU-Net v2 on disk: plans.json, dataset.json, and for each fold the weights.

    RESULTS/plans.json, dataset.json
    RESULTS/fold_0/checkpoint_final.pth, fold_1/ ...

RESULTS is what nnU-Net calls nnUNetTrainer__nnUNetPlans__2d.
"""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.nnunet.plans import Configuration, ResultsError, read_channels, read_configuration, read_labels

FINAL = "checkpoint_final.pth"


@dataclass(frozen=True, slots=True)
class Fold:
    """What one fold's checkpoint holds.

    Attributes:
        path: of the checkpoint.
        weights: by their names in the network.
        configuration: the name of the one that was trained.
        trainer: nnU-Net's class.
        epochs: how many it was trained for.
    """

    path: Path
    weights: dict[str, Tensor]
    configuration: str
    trainer: str
    epochs: int


@dataclass(frozen=True, slots=True)
class Results:
    """A whole folder, read.

    Attributes:
        configuration: that of all folds.
        labels: the background first.
        channels: 1 or 3.
        folds: by their names (`0`, `1`, `all`).
        dataset: its name in nnU-Net.
    """

    configuration: Configuration
    labels: list[str]
    channels: int
    folds: dict[str, Fold]
    dataset: str


def read_results(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> Results:
    """Read a folder.

    Args:
        folder: RESULTS.
        folds: the names of those to take; None: all that are there, but `all` only when it is alone.
        checkpoint: name of the file with a fold's weights.

    Raises:
        ResultsError: it is none, something is missing or damaged, or it is for something else than pictures.
    """
    plans, dataset = (_read_json(folder, name) for name in ("plans.json", "dataset.json"))
    labels, channels = read_labels(dataset), read_channels(dataset)
    read = {name: _read_fold(folder / f"fold_{name}" / checkpoint) for name in _choose(folder, folds, checkpoint)}
    names = {fold.configuration for fold in read.values()}
    if len(names) > 1:
        raise ResultsError(
            f"the folds of {folder} are of several configurations ({', '.join(sorted(names))}): use --fold"
        )
    configuration = read_configuration(plans, names.pop(), channels)
    return Results(configuration, labels, channels, read, str(plans.get("dataset_name", "")))


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultsError(_why_missing(folder, name)) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ResultsError(f"{path} cannot be read ({error}): copy it again from where it was trained") from error
    if not isinstance(found, dict):
        raise ResultsError(f"{path} is none of nnU-Net: copy it again from where it was trained")
    return found


def _why_missing(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f"{folder} is not a folder: give nnU-Net's results, as in nnUNetTrainer__nnUNetPlans__2d"
    if any(folder.glob("plans*.pkl")) or any(folder.glob("fold_*/*.model.pkl")):
        return f"{folder} has results of nnU-Net v1 (plans.pkl), and only those of v2 can be read: train it with v2"
    below = sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob("*/plans.json"))
    below += sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob("*/*/plans.json"))
    if below:
        return f"{folder} has no {name}, but there are results below it: give one of {', '.join(below)}"
    return f"{folder} has no {name}: give nnU-Net's results, as in nnUNetTrainer__nnUNetPlans__2d, with all its files"


def _choose(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> list[str]:
    there = sorted(path.name.removeprefix("fold_") for path in folder.glob("fold_*") if (path / checkpoint).is_file())
    if folds:
        missing = [name for name in folds if name not in there]
        if missing:
            raise ResultsError(
                f"{folder} has no fold_{missing[0]}/{checkpoint}: there is {_listed(there)}; give one with --fold"
            )
        return list(dict.fromkeys(folds))
    if not there:
        others = sorted({path.name for path in folder.glob("fold_*/*.pth")})
        remedy = f"training has not ended; give --checkpoint {others[0]}" if others else "copy the folds, too"
        raise ResultsError(f"{folder} has no fold_*/{checkpoint}: {remedy}")
    return [name for name in there if name != "all"] or there


def _listed(there: Sequence[str]) -> str:
    return ", ".join(f"fold_{name}" for name in there) or "none with such a file"


def _read_fold(path: Path) -> Fold:
    saved = _load(path)
    try:
        weights = {_plain(name): value for name, value in saved["network_weights"].items()}
        fold = Fold(
            path,
            weights,
            str(saved["init_args"]["configuration"]),
            str(saved["trainer_name"]),
            int(saved["current_epoch"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path} is no checkpoint of nnU-Net v2 (it has no {error}): copy it again") from error
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise ResultsError(f"{path} is no checkpoint of nnU-Net v2 (its weights are no numbers): copy it again")
    bad = next((name for name, value in weights.items() if not bool(torch.isfinite(value.float()).all())), None)
    if bad is not None:
        raise ResultsError(
            f"{path} has weights that are no numbers ({bad}): the training has gone astray, take another"
        )
    return fold


def _load(path: Path) -> dict[str, Any]:
    """Weights and plain values, and nothing that could run: nnU-Net's own records need numpy's scalars besides."""
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = str(error).partition("GLOBAL ")[2].split(" ")[0]
        raise ResultsError(
            f"{path} holds more than weights{f' ({wanted})' if wanted else ''}, and loading that could run programs: "
            "save it with nnU-Net's own trainer"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ResultsError(
            f"{path} cannot be read ({first}): it is cut short or no checkpoint, copy it again"
        ) from error
    if not isinstance(saved, dict):
        raise ResultsError(f"{path} is no checkpoint of nnU-Net v2: copy it again")
    return saved


def _numpy_scalars() -> list[Any]:
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *dtypes]


def _plain(name: str) -> str:
    """Without what distributed training and compiling put in front."""
    for prefix in ("module.", "_orig_mod."):
        name = name.removeprefix(prefix)
    return name
