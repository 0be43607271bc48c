"""`python -m models prune`: a trained network with fewer channels, or with fewer weights, and trained on."""

import argparse
import contextlib
import io
import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge.bundle import load_bundle
from models import export
from models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.compare import compare, comparison_table
from models.dataset import Picture, known_pictures
from models.measure import subjects_of
from models.narrow import channels_of, sparsity_of
from models.tables import markdown
from models.train import add_recipe_arguments, asked_recipe
from models.training import Recipe, Row
from models.tuning_on import tune_on
from models.zoo import Draws, Network

RECIPE = Recipe(epochs=15, learning_rate=5e-4)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `prune`."""
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="folder that `train` wrote")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the pictures that it was trained on")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for the smaller network")
    parser.add_argument("--share", type=float, default=0.3, help="of the channels, or weights (default: %(default)s)")
    parser.add_argument(
        "--unstructured", action="store_true", help="single weights instead of channels: L1, over the whole network"
    )
    parser.add_argument(
        "--round-to", type=int, default=1, metavar="N", help="leave a multiple of N channels (default: %(default)s)"
    )
    parser.add_argument("--fold", type=int, help="the fold that was held out instead of the split `val`")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    add_recipe_arguments(parser, RECIPE)


def run(args: argparse.Namespace) -> None:
    """Prune, train on, write the run's folder, and say what it costs and brings.

    Raises:
        ValueError: no checkpoint, no such pictures, or a share that leaves nothing.
        OSError: the run's folder cannot be written.
    """
    if not 0 < args.share < 1:
        raise ValueError(f"--share {args.share}: give more than 0 and less than 1")
    if args.out.resolve() == args.run.resolve():
        raise ValueError(f"--out {args.out} is the run itself: give another folder")
    recipe = asked_recipe(args, RECIPE)
    if args.threads:
        torch.set_num_threads(args.threads)
    before = load_checkpoint(args.run)
    network, module = before.network, load_checkpoint(args.run).module
    training, held_out = _pictures(args, network)
    facts = [_facts(network, module)]
    if args.unstructured:
        prune_weights(module, args.share)
        _keep_zeros(module)
    else:
        prune_channels(network, module, args.share, args.round_to)
    first, module, history = tune_on(network, module, training, held_out, recipe)
    facts.append(_facts(network, module))
    pruned = {
        "kind": "weights, L1" if args.unstructured else "channels, L2 of groups",
        "share": args.share,
        "before": facts[0],
        "after": facts[1],
        "trained_on": asdict(recipe),
    }
    save_checkpoint(args.out, Checkpoint(network, module, before.training, before.data, pruned))
    rows = _compared(args, held_out)
    document = {"run": str(args.out), **pruned, "untrained": first, "history": history, "rows": rows}
    (args.out / "metrics.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(document, ensure_ascii=False) if args.json else _text(document))


def prune_channels(network: Network, module: nn.Module, share: float, round_to: int = 1) -> None:
    """Take the least important channels out of every layer, and what hangs on them out of the layers behind.

    The importance of a channel is the L2 norm of all weights that go with it. What the network gives stays as wide.

    Args:
        network: what the module is.
        module: changed.
        share: of the channels of each layer, 0 to 1.
        round_to: what is left is a multiple of it where the layer has as many.
    """
    module.eval()
    draws = isinstance(module, Draws)
    example = network.prepare(torch.rand(1, network.spec.channels, network.spec.height, network.spec.width))

    def forward(one: nn.Module, x: Tensor) -> Any:
        return one.draw(x) if draws else one(x)

    pruner = tp.pruner.BasePruner(
        module,
        example,
        forward_fn=forward,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=share,
        round_to=round_to if round_to > 1 else None,
        ignored_layers=_last_layers(module, lambda: forward(module, example)),
    )
    pruner.step()


def _last_layers(module: nn.Module, forward: Any) -> list[nn.Module]:
    """The layers whose output is what the network gives."""
    seen: list[tuple[nn.Module, Tensor]] = []
    layers = [one for one in module.modules() if isinstance(one, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)]
    hooks = [one.register_forward_hook(lambda layer, _, output: seen.append((layer, output))) for one in layers]
    with torch.no_grad():
        given = forward()
    for hook in hooks:
        hook.remove()
    outputs = given if isinstance(given, tuple) else (given,)
    last = [layer for layer, output in seen if any(output is one for one in outputs)]
    return last or [seen[-1][0]]  # its output is only enlarged or reshaped


def prune_weights(module: nn.Module, share: float) -> None:
    """Set the smallest weights of all convolutions and linear layers to zero: L1, over the whole network.

    Args:
        module: changed.
        share: of all these weights, 0 to 1.
    """
    weights = [one.weight for one in module.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    limit = sizes.kthvalue(max(1, math.floor(share * sizes.numel()))).values
    with torch.no_grad():
        for weight in weights:
            weight[weight.abs() <= limit] = 0


class _Masked(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """A weight whose zeros stay zero while the rest is trained."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", (weight != 0).to(weight.dtype))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def _keep_zeros(module: nn.Module) -> None:
    for one in module.modules():
        if isinstance(one, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            parametrize.register_parametrization(one, "weight", _Masked(one.weight))


def _pictures(args: argparse.Namespace, network: Network) -> tuple[list[Picture], list[Picture]]:
    everything = known_pictures(args.data, "all", network.labels, network.labels[0])
    training = [p for p in everything if (p.split == "train" if args.fold is None else p.fold != args.fold)]
    learnt = set(training)
    held_out = [p for p in everything if p not in learnt]
    if not held_out:
        raise ValueError(f"{args.data} has no pictures that are held out: nothing to measure on")
    return training, held_out


def _facts(network: Network, module: nn.Module) -> dict[str, float]:
    example = network.prepare(torch.rand(1, network.spec.channels, network.spec.height, network.spec.width))
    operations, parameters = tp.utils.count_ops_and_params(module, example)
    return {
        "channels": channels_of(module),
        "parameters": int(parameters),
        "multiplications": int(operations),
        "sparsity": round(sparsity_of(module), 4),
    }


def _compared(args: argparse.Namespace, held_out: list[Picture]) -> list[Row]:
    """Both exported, on every engine."""
    with tempfile.TemporaryDirectory() as folder:
        subjects = []
        for run_folder, label in ((args.run, "before"), (args.out, "pruned")):
            bundle = Path(folder) / label
            parser = argparse.ArgumentParser()
            export.add_arguments(parser)
            with contextlib.redirect_stdout(io.StringIO()):
                export.run(parser.parse_args(["--run", str(run_folder), "--out", str(bundle)]))
            subjects += subjects_of(load_bundle(bundle), label=label)[0]
        return compare(subjects, held_out)


def _text(document: dict[str, Any]) -> str:
    keys = ("channels", "parameters", "multiplications", "sparsity")
    before, after = document["before"], document["after"]
    rows = [
        [key, f"{before[key]:,}", f"{after[key]:,}", f"{after[key] / before[key]:.2f}" if before[key] else "-"]
        for key in keys
    ]
    name, value = next(iter(document["untrained"].items()))
    return (
        f"{markdown(['', 'before', 'after', 'share left'], rows)}\n\n"
        f"{name.replace('_', ' ')} in PyTorch: {value:.3f} when pruned, {document['history'][-1][name]:.3f} after "
        f"{len(document['history'])} epochs more\n\n{comparison_table(document['rows'])}\n\nsee {document['run']}"
    )
