"""`python -m models train`: a classifier from scratch on a folder of labelled pictures."""

import argparse
import contextlib
import copy
import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from models.augment import Sample, Sampler
from models.dataset import Picture, read_dataset
from models.metrics import balanced_accuracy, confusion
from models.network import DefectNet
from models.picture import draw_curves


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything that a run depends on besides its pictures.

    Attributes:
        size: width and height of the input in pixels, a multiple of 32.
        colour: GRAY or BGR.
        epochs: how many.
        samples: per epoch.
        batch: samples per step.
        learning_rate: the highest, of a one-cycle schedule.
        label_smoothing: keeps the scores from claiming certainty.
        seed: of everything random.
    """

    size: int = 256
    colour: Literal["GRAY", "BGR"] = "GRAY"
    epochs: int = 60
    samples: int = 640
    batch: int = 16
    learning_rate: float = 1.5e-3
    label_smoothing: float = 0.05
    paste_share: float = 0.4
    seed: int = 1

    @property
    def spec(self) -> InputSpec:
        """What the model expects."""
        return InputSpec(self.size, self.size, self.colour, "stretch")


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: the averaged network, and how it went."""

    network: DefectNet
    labels: tuple[str, ...]
    settings: TrainSettings
    history: list[dict[str, float]]
    matrix: npt.NDArray[np.int64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `train`."""
    default = TrainSettings()
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for checkpoint, curves, metrics")
    parser.add_argument("--pass-label", help="the label that means good (default: ok, good or free)")
    parser.add_argument("--size", type=int, default=default.size, help="input in pixels (default: %(default)s)")
    parser.add_argument("--colour", choices=("GRAY", "BGR"), default=default.colour)
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--samples", type=int, default=default.samples, help="per epoch (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=default.batch)
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--paste-share", type=float, default=default.paste_share, help="defects shown on other parts")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--fold", type=int, help="hold out this fold instead of the split `val`")
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: all cores)")


def run(args: argparse.Namespace) -> None:
    """Train, and write `checkpoint.pt`, `curves.png` and `metrics.json` into the run's folder.

    Raises:
        ValueError: the folder is no data set, or a setting makes no sense.
        OSError: the run's folder cannot be written.
    """
    settings = TrainSettings(**{name: getattr(args, name) for name in TrainSettings.__slots__ if hasattr(args, name)})
    if settings.size % 32 or settings.size < 64:
        raise ValueError(f"--size {settings.size}: give a multiple of 32, 64 or more")
    dataset = read_dataset(args.data, args.pass_label)
    training, held_out = dataset.fold(args.fold) if args.fold is not None else (
        dataset.split("train"),
        dataset.split("val"),
    )  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    trained = train(training, held_out, dataset.labels, settings)
    torch.save(
        {
            "state": trained.network.state_dict(),
            "labels": trained.labels,
            "settings": asdict(settings),
            "data": {"folder": args.data.name, "training": len(training), "held_out": len(held_out), "fold": args.fold},
        },
        args.out / "checkpoint.pt",
    )
    draw_curves(trained.history, args.out / "curves.png", args.out.name)
    metrics = {
        "labels": trained.labels,
        "balanced_accuracy": balanced_accuracy(trained.matrix),
        "confusion": trained.matrix.tolist(),
        "history": trained.history,
    }
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(f"balanced accuracy {metrics['balanced_accuracy']:.3f} on {len(held_out)} pictures held out; see {args.out}")


def load_checkpoint(run_folder: Path) -> tuple[DefectNet, tuple[str, ...], TrainSettings, dict[str, Any]]:
    """The network of a run in evaluation mode, its labels, its settings, and what it was trained on.

    Raises:
        ValueError: there is no checkpoint, or it is not one of ours.
    """
    path = run_folder / "checkpoint.pt"
    try:
        saved = torch.load(path, weights_only=True)
        settings = TrainSettings(**saved["settings"])
        network = DefectNet(settings.spec.channels, len(saved["labels"]))
        network.load_state_dict(saved["state"])
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: give the folder that `train` wrote") from error
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit this version of the workshop ({error}): train again") from error
    return network.eval(), tuple(saved["labels"]), settings, saved["data"]


def train(
    training: list[Picture], held_out: list[Picture], labels: tuple[str, ...], settings: TrainSettings
) -> Trained:
    """Train on one list of pictures and measure on the other, which has no influence on the training.

    What is kept is the running average of the weights at the end, not the best epoch on the pictures held out.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    sampler = Sampler(training, labels, settings.spec, rng, paste_share=settings.paste_share)
    network = DefectNet(settings.spec.channels, len(labels)).to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    steps = settings.samples // settings.batch
    optimiser = optimiser_of(network, settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, max(2, steps * settings.epochs), pct_start=0.15, final_div_factor=50
    )
    test_x, test_y = tensor_of(held_out, settings.spec), np.array([labels.index(p.label) for p in held_out])
    history: list[dict[str, float]] = []
    matrix = np.zeros((len(labels), len(labels)), np.int64)
    done = 0
    bar = tqdm(range(settings.epochs), unit="epoch")
    for epoch in bar:
        network.train()
        sums = np.zeros(3)
        for _ in range(steps):
            parts = _losses(network, [sampler.draw() for _ in range(settings.batch)], settings.label_smoothing)
            torch.stack(parts).sum().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            done += 1
            follow(average, network, min(0.995, done / (done + 50)))
            sums += [part.item() for part in parts]
        row = dict(zip(("label_loss", "map_loss", "dice_loss"), (sums / steps).tolist(), strict=True))
        if epoch % 5 == 4 or epoch == settings.epochs - 1:
            matrix = confusion(test_y, _predict(average, test_x), len(labels))
            row["balanced_accuracy"] = balanced_accuracy(matrix)
            bar.set_postfix(loss=f"{sums.sum() / steps:.3f}", held_out=f"{row['balanced_accuracy']:.3f}")
        history.append({"epoch": epoch + 1, **row})
    return Trained(average, labels, settings, history, matrix)


def optimiser_of(network: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW; weights decay, biases and norms do not."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]  # decaying biases and norms only does harm
    groups = [{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def _losses(network: DefectNet, samples: list[Sample], smoothing: float) -> list[Tensor]:
    """What the label costs, what the maps cost, and how badly the drawn defects overlap with the real ones (Dice)."""
    x = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    target = torch.from_numpy(np.stack([s.target for s in samples]))
    label = torch.tensor([s.label for s in samples])
    known = torch.tensor([float(s.has_target) for s in samples])
    with mixed_precision():
        logits, maps = network(x.contiguous(memory_format=torch.channels_last))
    logits, maps = logits.float(), maps.float()
    label_loss = F.cross_entropy(logits, label, label_smoothing=smoothing)
    weight = torch.tensor(4.0)  # few cells are defective
    per_cell = F.binary_cross_entropy_with_logits(maps, target, pos_weight=weight, reduction="none")
    map_loss = 5 * (per_cell.mean((1, 2, 3)) * known).mean()
    defective = torch.nonzero((label > 0) & (known > 0)).flatten()
    if len(defective) == 0:
        return [label_loss, map_loss, label_loss * 0]
    drawn = torch.sigmoid(maps)[defective, label[defective] - 1]
    real = target[defective, label[defective] - 1]
    overlap = (2 * (drawn * real).sum((1, 2)) + 1) / (drawn.sum((1, 2)) + real.sum((1, 2)) + 1)
    return [label_loss, map_loss, (1 - overlap).mean()]


def follow(average: torch.nn.Module, network: torch.nn.Module, keep: float) -> None:
    """Move the running average of the weights a step towards the network."""
    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)


def _predict(network: DefectNet, x: Tensor) -> npt.NDArray[np.int64]:
    with torch.no_grad():
        answers = [network(part.float() / 255)[0].argmax(1).numpy() for part in x.split(32)]
    return np.concatenate(answers)


def tensor_of(pictures: list[Picture], spec: InputSpec) -> Tensor:
    """(n, channels, height, width) uint8, through the runtime's own preprocessing."""
    stack = np.empty((len(pictures), *spec.shape[1:]), np.uint8)
    for number, picture in enumerate(pictures):
        Preprocessor(spec, stack[number : number + 1])(read_image(picture.image))
    return torch.from_numpy(stack).permute(0, 3, 1, 2)


def mixed_precision() -> contextlib.AbstractContextManager[Any]:
    """BF16 where the processor has it."""
    return torch.autocast("cpu", torch.bfloat16) if _multiplies_bf16() else contextlib.nullcontext()


@functools.cache
def _multiplies_bf16() -> bool:
    """Whether the processor does so natively: training is twice as fast then, and many times slower elsewhere."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8") if path.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
