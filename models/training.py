"""How networks of the zoo learn: one loop for all of them."""

import contextlib
import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from models.augment import Sample, Sampler
from models.crops import CropSampler
from models.dataset import Picture
from models.zoo import Network

Losses = dict[str, Tensor]
Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training depends on besides its network and its pictures.

    Attributes:
        epochs: how many.
        samples: per epoch.
        batch: samples per step.
        learning_rate: the highest, of a one-cycle schedule.
        pass_share: how many samples show nothing wrong.
        paste_share: how many defects are shown on another tile than their own.
        label_smoothing: keeps the scores from claiming certainty.
        crop: side of the cuts that are trained on, see `CropSampler`; 0: whole pictures alone.
        average_over: steps whose weights the kept network is the running average of.
        seed: of everything random.
    """

    epochs: int = 60
    samples: int = 640
    batch: int = 16
    learning_rate: float = 1.5e-3
    pass_share: float = 0.4
    paste_share: float = 0.4
    label_smoothing: float = 0.05
    crop: int = 0
    average_over: int = 200
    seed: int = 1


def fit(  # noqa: PLR0917  # as `train` and pruning say it: what, on what, how
    network: Network,
    module: nn.Module,
    training: list[Picture],
    recipe: Recipe,
    losses: Callable[[nn.Module, list[Sample], float], Losses],
    measure: Callable[[nn.Module], Row],
) -> tuple[nn.Module, list[Row]]:
    """Train a module; what is kept is the running average of its weights at the end, in evaluation mode.

    Args:
        network: what the module is.
        module: with its first weights; used up.
        training: pictures to draw samples from.
        recipe: how.
        losses: what a batch of samples costs, by name, when so much of the training is done, 0 to 1; their sum is made
            small.
        measure: figures of the average, every fifth epoch and after the last; they have no influence on the training.

    Returns:
        The network, and a row of figures for each epoch.
    """
    torch.manual_seed(recipe.seed)
    sampler = _sampler(network, training, recipe)
    module = module.to(memory_format=torch.channels_last)
    average = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
    steps = max(1, recipe.samples // recipe.batch)
    total = steps * recipe.epochs
    optimiser = _optimiser(module, recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, max(2, total), pct_start=0.15, final_div_factor=50
    )
    history: list[Row] = []
    done = 0
    bar = tqdm(range(recipe.epochs), unit="epoch")
    for epoch in bar:
        module.train()
        sums: dict[str, float] = {}
        for _ in range(steps):
            parts = losses(module, [sampler.draw() for _ in range(recipe.batch)], done / total)
            torch.stack(list(parts.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            done += 1
            _follow(average, module, min(1 - 1 / recipe.average_over, done / (done + recipe.average_over / 4)))
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + part.item() / steps
        row = {"epoch": epoch + 1.0, **sums}
        if epoch % 5 == 4 or epoch == recipe.epochs - 1:
            row |= measure(average)
        bar.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "epoch"})
        history.append(row)
    return average, history


def _sampler(network: Network, training: list[Picture], recipe: Recipe) -> Sampler | CropSampler:
    rng, labels, spec = np.random.default_rng(recipe.seed), network.labels, network.spec
    shares = {"pass_share": recipe.pass_share, "paste_share": recipe.paste_share}
    if recipe.crop:
        return CropSampler(training, labels, spec, rng, crop=recipe.crop, **shares)
    return Sampler(training, labels, spec, rng, **shares)


def batch_of(network: Network, samples: list[Sample]) -> Tensor:
    """(n, channels, height, width), as the module takes it."""
    x = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    prepared: Tensor = network.prepare(x).contiguous(memory_format=torch.channels_last)
    return prepared


def tensor_of(pictures: list[Picture], spec: InputSpec) -> Tensor:
    """(n, channels, height, width) uint8, through the runtime's own preprocessing."""
    stack = np.empty((len(pictures), *spec.shape[1:]), np.uint8)
    for number, picture in enumerate(pictures):
        Preprocessor(spec, stack[number : number + 1])(read_image(picture.image))
    return torch.from_numpy(stack).permute(0, 3, 1, 2)


def mixed_precision() -> contextlib.AbstractContextManager[Any]:
    """BF16 where the processor has it."""
    return torch.autocast("cpu", torch.bfloat16) if _multiplies_bf16() else contextlib.nullcontext()


def _optimiser(module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW; weights decay, biases and norms do not."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]  # decaying biases and norms only does harm
    groups = [{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def _follow(average: nn.Module, module: nn.Module, keep: float) -> None:
    """Move the running average of the weights a step towards the network."""
    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)


@functools.cache
def _multiplies_bf16() -> bool:
    """Whether the processor does so natively: training is twice as fast then, and many times slower elsewhere."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8") if path.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
