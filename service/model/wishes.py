"""The options of `edgecls model import`, and what is settled with them."""

import argparse
import re
from collections.abc import Callable
from typing import get_args

from edge.conversion.original import Original
from edge.preprocess import FILL, Colour, Layout
from service.model.facts import Facts, MissingFlagsError, ModelFileError, Told
from service.model.labels import given_labels
from service.model.metadata import IMAGENET_MEAN, IMAGENET_STD


def asked(args: argparse.Namespace) -> dict[str, object]:
    """What the command line says, by the names of `Told`; what it does not say is None.

    Raises:
        ModelFileError: an option has a value that it cannot have.
    """
    return {
        "labels": given_labels(args.labels) if args.labels else None,
        "size": _size(args.input) if args.input else None,
        "layout": args.layout,
        "colour": args.colour,
        "mean": _values("--mean", args.mean, IMAGENET_MEAN, lambda value: 0 <= value <= 1) if args.mean else None,
        "std": _values("--std", args.std, IMAGENET_STD, lambda value: 0 < value <= 1) if args.std else None,
        "resize": args.resize,
    }


def settle(facts: Facts, told: Told, good: str | None) -> tuple[Original, Told]:
    """What the model takes, and `told` with what was taken from the shape or for granted.

    Args:
        facts: of the file.
        told: by its metadata and the command line.
        good: the label that means good, if it is known.

    Raises:
        MissingFlagsError: something is not known; the sentence names every flag that would say it.
        ModelFileError: what is known does not fit together.
    """
    layout = _layout(facts, told)
    missing = _missing_labels(facts, told, good)
    if layout is None:
        missing.append("--layout, NCHW or NHWC (where the 1 or 3 channels are)")
        layout = "NCHW"
    elif told.layout is None:
        told = told.then("the shape of its input", layout=layout)
    axes = (1, 2, 3) if layout == "NCHW" else (3, 1, 2)
    channels, height, width = (facts.shape[axis] for axis in axes)
    told = _sized(told, width, height)
    if told.size is None:
        missing.append("--input WxH (its input is open)")
    told = _coloured(told, channels)
    if facts.dtype == "uint8":
        told = told.then("its input is uint8, so that it normalises inside", mean=(0.0,), std=(1.0,))
    hint = " (of its weights: model.pretrained_cfg)" if told.origin == "timm" else ""
    for name, values in (("mean", told.mean), ("std", told.std)):
        if values is None:
            missing.append(f"--{name}, of values 0 to 1, or imagenet" + hint)
    if missing:
        raise MissingFlagsError("; ".join(missing))
    if told.resize is None:
        told = told.then("taken for granted", resize="stretch")
    assert told.size is not None  # noqa: S101  # nothing is missing
    assert told.colour is not None  # noqa: S101  # nothing is missing
    channels = 1 if told.colour == "GRAY" else 3
    width, height = told.size
    taken = Original(
        told.colour,
        layout,
        height,
        width,
        facts.dtype,
        _for_each(told.mean or (0.0,), channels, "mean"),
        _for_each(told.std or (1.0,), channels, "std"),
        told.resize or "stretch",
        FILL if told.fill is None else told.fill,
    )
    return taken, told


def _missing_labels(facts: Facts, told: Told, good: str | None) -> list[str]:
    how_many = f"all {facts.labels}" if facts.labels else "as many as it gives scores"
    labels = f"--labels, {how_many} in its order (a file with one per line, or a,b,c)"
    return [labels] * (told.labels is None) + ["--pass-label, the one that means good"] * (good is None)


def _layout(facts: Facts, told: Told) -> Layout | None:
    axes: dict[Layout, int] = {"NCHW": 1, "NHWC": 3}
    candidates = [one for one, axis in axes.items() if facts.shape[axis] in (1, 3, 0)]
    if told.layout is not None:
        if told.layout not in candidates:
            raise ModelFileError(f"its input is {list(facts.shape)}, so that {told.layout} has not 1 or 3 channels")
        return told.layout
    if facts.layout is not None:
        return facts.layout
    sure = [one for one in candidates if facts.shape[axes[one]]]
    if not candidates:
        raise ModelFileError(f"its input is {list(facts.shape)}: a picture has 1 or 3 channels")
    return sure[0] if len(sure) == 1 else None


def _sized(told: Told, width: int, height: int) -> Told:
    fixed = (width, height)
    if told.size is not None and all(have in (0, want) for have, want in zip(fixed, told.size, strict=True)):
        return told
    if told.size is not None and told.how.get("size") == "--input":
        raise ModelFileError(f"its input is fixed at {width}x{height} (0: open): leave --input away or make it fit")
    return told.then("the shape of its input", size=fixed if all(fixed) else None)


def _coloured(told: Told, channels: int) -> Told:
    if told.colour is None:
        where = "one channel" if channels == 1 else "taken for granted"
        return told.then(where, colour="GRAY" if channels == 1 else "RGB")
    if channels and (told.colour == "GRAY") != (channels == 1):
        raise ModelFileError(f"its input has {channels} channels, which does not fit the colour {told.colour}")
    return told


def _for_each(values: tuple[float, ...], channels: int, name: str) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise ModelFileError(f"{name} has {len(values)} values, and its input {channels} channels: give one for each")
    return values * channels if len(values) == 1 else values


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})\s*[xX×]\s*(\d{1,5})", text.strip())  # noqa: RUF001  # people type it
    if not found or "0" in (found[1].lstrip("0") or "0", found[2].lstrip("0") or "0"):
        raise ModelFileError(f"--input {text} is no size: give width and height in pixels, such as 224x224")
    return int(found[1]), int(found[2])


def _values(flag: str, text: str, imagenet: tuple[float, ...], allowed: Callable[[float], bool]) -> tuple[float, ...]:
    if text.strip().lower() == "imagenet":
        return imagenet
    try:
        found = tuple(_number(word) for word in re.split(r"[\s,]+", text.strip()))
    except (ValueError, ZeroDivisionError) as error:
        raise ModelFileError(f"{flag} {text} is no number, and no three with commas (0.485,0.456,0.406)") from error
    if not all(allowed(value) for value in found):
        raise ModelFileError(
            f"{flag} {text}: give values between 0 and 1; what is meant for pixels of 0 to 255, divided by 255 (58/255)"
        )
    return found


def _number(word: str) -> float:
    above, slash, below = word.partition("/")
    return float(above) / float(below) if slash else float(above)


def described(told: Told, taken: Original) -> dict[str, dict[str, object]]:
    """Each thing that was settled, and where it was found."""
    values: dict[str, object] = {
        "size": f"{taken.width}x{taken.height}",
        "layout": taken.layout,
        "colour": taken.colour,
        "mean": [round(value, 5) for value in taken.mean],
        "std": [round(value, 5) for value in taken.std],
        "resize": taken.resize,
    }
    if taken.resize == "letterbox":
        values["fill"] = taken.fill
    return {name: {"value": value, "from": told.how.get(name, "default")} for name, value in values.items()}


COLOURS: tuple[Colour, ...] = get_args(Colour)
