"""`python -m models train-segmenter`: a U-Net that says of every pixel what it shows, from pictures with masks."""

import argparse
import copy
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

from edge.frame import Image
from edge.preprocess import InputSpec
from models.augment import Sample, Sampler
from models.dataset import Picture, read_dataset, truth_mask
from models.mask_metrics import PixelCounts
from models.train import follow, mixed_precision, optimiser_of, tensor_of
from models.unet import Segmenter


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """Everything that a run depends on besides its pictures.

    Attributes:
        size: width and height of the input in pixels, a multiple of 2**(levels - 1).
        colour: GRAY or BGR.
        width: channels of the first level.
        levels: sizes that the network looks at.
        skips: skip connections that are kept, from the full size down; None: all.
        epochs: how many.
        samples: per epoch.
        batch: samples per step.
        learning_rate: the highest, of a one-cycle schedule.
        paste_share: how many defects are shown on another tile than their own.
        seed: of everything random.
    """

    size: int = 224
    colour: Literal["GRAY", "BGR"] = "GRAY"
    width: int = 8
    levels: int = 6
    skips: int | None = None
    epochs: int = 30
    samples: int = 320
    batch: int = 16
    learning_rate: float = 4e-3
    paste_share: float = 0.4
    seed: int = 1

    @property
    def spec(self) -> InputSpec:
        """What the model expects."""
        return InputSpec(self.size, self.size, self.colour, "stretch")

    def network(self, labels: int) -> Segmenter:
        """An untrained one."""
        return Segmenter(self.spec.channels, labels, self.width, self.levels, self.skips)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `train-segmenter`."""
    default = SegmenterSettings()
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of labelled pictures with masks"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for checkpoint and metrics")
    parser.add_argument("--pass-label", help="the label that means good (default: ok, good or free)")
    parser.add_argument("--size", type=int, default=default.size, help="input in pixels (default: %(default)s)")
    parser.add_argument("--colour", choices=("GRAY", "BGR"), default=default.colour)
    parser.add_argument("--width", type=int, default=default.width, help="channels at first (default: %(default)s)")
    parser.add_argument("--levels", type=int, default=default.levels, help="sizes looked at (default: %(default)s)")
    parser.add_argument("--skips", type=int, help="keep so many of the skips, the shallow ones (default: all)")
    parser.add_argument("--epochs", type=int, default=default.epochs)
    parser.add_argument("--samples", type=int, default=default.samples, help="per epoch (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=default.batch)
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--paste-share", type=float, default=default.paste_share, help="defects shown on other parts")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--threads", type=int, default=0, help="of torch (default: all cores)")


def run(args: argparse.Namespace) -> None:
    """Train on the split `train`, and write `checkpoint.pt` and `metrics.json` into the run's folder.

    Raises:
        ValueError: the folder is no data set, its defects have no masks, or a setting makes no sense.
        OSError: the run's folder cannot be written.
    """
    settings = SegmenterSettings(**{name: getattr(args, name) for name in SegmenterSettings.__slots__})
    _check(settings)
    dataset = read_dataset(args.data, args.pass_label)
    training, held_out = dataset.split("train"), dataset.split("val")
    bare = sorted({p.label for p in training if p.label != dataset.labels[0]} - {p.label for p in training if p.mask})
    if bare:
        raise ValueError(f"{args.data} has no masks of {', '.join(bare)}: draw some, or remove these pictures")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    network, history = train(training, held_out, dataset.labels, settings)
    torch.save(
        {
            "state": network.state_dict(),
            "labels": dataset.labels,
            "segmenter": asdict(settings),
            "data": {"folder": args.data.name, "training": len(training), "held_out": len(held_out)},
        },
        args.out / "checkpoint.pt",
    )
    metrics = {"labels": dataset.labels, "history": history}
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(f"mean IoU of the defects {history[-1]['mean_iou']:.3f} on {len(held_out)} pictures held out; see {args.out}")


def is_segmenter(run_folder: Path) -> bool:
    """Whether `train-segmenter` wrote that folder."""
    path = run_folder / "checkpoint.pt"
    return path.is_file() and "segmenter" in torch.load(path, weights_only=True)


def load_segmenter(run_folder: Path) -> tuple[Segmenter, tuple[str, ...], SegmenterSettings, dict[str, Any]]:
    """The network of a run in evaluation mode, its labels, its settings, and what it was trained on.

    Raises:
        ValueError: there is no checkpoint, or it is not one of a segmenter.
    """
    path = run_folder / "checkpoint.pt"
    try:
        saved = torch.load(path, weights_only=True)
        settings = SegmenterSettings(**saved["segmenter"])
        network = settings.network(len(saved["labels"]))
        network.load_state_dict(saved["state"])
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist: give the folder that `train-segmenter` wrote") from error
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is no segmenter of this version of the workshop ({error}): train again") from error
    return network.eval(), tuple(saved["labels"]), settings, saved["data"]


def train(
    training: list[Picture], held_out: list[Picture], labels: tuple[str, ...], settings: SegmenterSettings
) -> tuple[Segmenter, list[dict[str, float]]]:
    """Train on one list of pictures and measure on the other, which has no influence on the training.

    What is kept is the running average of the weights at the end, not the best epoch on the pictures held out.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    sampler = Sampler(training, labels, settings.spec, rng, paste_share=settings.paste_share)
    network = settings.network(len(labels)).to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    steps = max(1, settings.samples // settings.batch)
    optimiser = optimiser_of(network, settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, max(2, steps * settings.epochs), pct_start=0.15, final_div_factor=50
    )
    pictures = tensor_of(held_out, settings.spec)
    truths = [truth_mask(picture, settings.spec, labels) for picture in held_out]
    history: list[dict[str, float]] = []
    done = 0
    bar = tqdm(range(settings.epochs), unit="epoch")
    for epoch in bar:
        network.train()
        total = 0.0
        for _ in range(steps):
            loss = _loss(network, [sampler.draw() for _ in range(settings.batch)])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            done += 1
            follow(average, network, min(0.99, done / (done + 20)))
            total += loss.item()
        row = {"epoch": epoch + 1.0, "loss": total / steps}
        if epoch % 5 == 4 or epoch == settings.epochs - 1:
            row["mean_iou"] = _counts(average, pictures, truths, labels).mean_iou
            bar.set_postfix(loss=f"{row['loss']:.3f}", iou=f"{row['mean_iou']:.3f}")
        history.append(row)
    return average, history


def _check(settings: SegmenterSettings) -> None:
    levels = settings.levels
    if not 2 <= levels <= 8 or settings.width < 1:
        raise ValueError(f"--levels {levels} --width {settings.width}: give 2 to 8 levels, and a width of 1 or more")
    if settings.size % 2 ** (levels - 1) or settings.size < 32:
        raise ValueError(
            f"--size {settings.size}: give a multiple of {2 ** (levels - 1)} for {levels} levels, 32 or more"
        )
    if settings.skips is not None and not 0 <= settings.skips < levels:
        raise ValueError(f"--skips {settings.skips}: {levels} levels have 0 to {levels - 1} skips")


def _loss(network: Segmenter, samples: list[Sample]) -> Tensor:
    """Cross-entropy of the pixels, and how badly the drawn defects overlap with the real ones (Dice).

    Good pixels and the defect of a picture are averaged apart: a small hole counts as much as a large patch.
    """
    samples = [sample for sample in samples if sample.has_target] or samples
    x = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    truth = torch.from_numpy(np.stack([s.classes for s in samples])).long()
    with mixed_precision():
        logits = network(x.contiguous(memory_format=torch.channels_last))
    logits = logits.float()
    per_pixel = F.cross_entropy(logits, truth, reduction="none")
    good = (truth == 0).float()
    bad = 1 - good
    shows_defect = bad.amax((1, 2)) > 0
    loss = (per_pixel * good).sum() / good.sum()
    if not bool(shows_defect.any()):
        return loss
    per_defect = (per_pixel * bad).sum((1, 2)) / bad.sum((1, 2)).clamp(min=1)
    drawn = 1 - logits.softmax(1)[:, 0]
    overlap = (2 * (drawn * bad).sum((1, 2)) + 5) / (drawn.sum((1, 2)) + bad.sum((1, 2)) + 5)
    return loss + 0.3 * per_defect[shows_defect].mean() + (1 - overlap)[shows_defect].mean()


def _counts(network: Segmenter, pictures: Tensor, truths: list[Image], labels: tuple[str, ...]) -> PixelCounts:
    counts = PixelCounts(len(labels))
    with torch.no_grad():
        for number, picture in enumerate(pictures.split(1)):
            answer: npt.NDArray[np.int64] = network(picture.float() / 255)[0].argmax(0).numpy()
            counts.add(truths[number], answer.astype(np.uint8))
    return counts
