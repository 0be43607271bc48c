"""A model bundle on disk: `model.json` and the files that it names, read and checked.

`model.json` is the only thing that the workshop and the daemon share; `docs/bundles.md` describes it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.errors import BundleError
from edge.frame import Image
from edge.preprocess import Colour, InputSpec, Resize

Precision = Literal["int8", "fp16", "fp32"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSection(_Strict):
    """`input` of model.json.

    The normalisation happens inside the graph and is told for people: by a fixed mean and std (of values 0 to 1), or
    `per_picture`, each picture by its own.
    """

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    channels: Literal[1, 3]
    colour: Colour
    layout: Literal["NHWC"]
    dtype: Literal["uint8"]
    normalisation: Literal["fixed", "per_picture"] = "fixed"
    mean: list[float]
    std: list[float]
    resize: Resize

    @model_validator(mode="after")
    def _channels_fit_the_colour(self) -> Self:
        if self.channels != self.spec.channels:
            raise ValueError(f"colour {self.colour} has {self.spec.channels} channels, not {self.channels}")
        return self

    @property
    def spec(self) -> InputSpec:
        """What the preprocessor needs of it."""
        return InputSpec(width=self.width, height=self.height, colour=self.colour, resize=self.resize)


class FileSection(_Strict):
    """One model file: `precision`, `format`, `path` inside the bundle, `sha256` in hexadecimal."""

    precision: Precision
    format: Literal["onnx"]
    path: str
    sha256: str


class GoldenSection(_Strict):
    """Inputs and what the reference answered.

    `path` is an .npz with `inputs`, (n, height, width, channels) uint8. `scores[precision]` has n rows of one score
    per label. An engine whose scores differ by more than `tolerance[precision]` anywhere is refused.
    """

    path: str
    sha256: str
    scores: dict[Precision, list[list[float]]]
    tolerance: dict[Precision, float]


class Manifest(_Strict):
    """model.json."""

    schema_: Literal["edgecls/bundle/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    version: str
    task: Literal["classification"]
    labels: list[str] = Field(min_length=2)
    pass_label: str
    absent_label: str | None = None
    input: InputSection
    files: list[FileSection] = Field(min_length=1)
    golden: GoldenSection
    metrics: dict[str, object]
    provenance: dict[str, object]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pass_label not in self.labels:
            raise ValueError(f"pass_label {self.pass_label!r} is not one of labels {self.labels}")
        if self.absent_label is not None and self.absent_label not in set(self.labels) - {self.pass_label}:
            raise ValueError(f"absent_label {self.absent_label!r} is not one of labels, or is the pass_label")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels has the same label twice")
        missing = {f.precision for f in self.files} - set(self.golden.scores)
        if missing:
            raise ValueError(f"golden.scores has nothing for {', '.join(sorted(missing))}")
        return self


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are all there and have the hashes that model.json gives."""

    path: Path
    manifest: Manifest
    golden_inputs: Image

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the model's order."""
        return tuple(self.manifest.labels)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that it has a file for, in the order of model.json."""
        return tuple(f.precision for f in self.manifest.files)

    def file(self, precision: Precision) -> Path:
        """The model file of one precision.

        Raises:
            BundleError: there is none.
        """
        for entry in self.manifest.files:
            if entry.precision == precision:
                return self.path / entry.path
        raise BundleError(
            f"bundle {self.path} has no {precision} model, only {', '.join(self.precisions)}: "
            "set engine.precision to one of them or to auto"
        )


def load_bundle(path: Path) -> Bundle:
    """Read a bundle and check that it is whole. The golden scores are checked where an engine is made.

    Raises:
        BundleError: a file is missing, damaged, or says something that is not allowed.
    """
    manifest = _read_manifest(path)
    for name, sha256 in [(f.path, f.sha256) for f in manifest.files] + [(manifest.golden.path, manifest.golden.sha256)]:
        _check_file(path, name, sha256)
    return Bundle(path=path, manifest=manifest, golden_inputs=_golden_inputs(path, manifest))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_manifest(path: Path) -> Manifest:
    source = path / "model.json"
    try:
        return Manifest.model_validate(json.loads(source.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        what = "has no model.json" if path.is_dir() else "does not exist"
        raise BundleError(f"bundle {path} {what}: give the directory of a model bundle") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{source} cannot be read ({error}): restore the bundle from where it came") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "model.json"
        raise BundleError(f"{source}: {key}: {first['msg']}: correct it or export the bundle again") from error


def _check_file(path: Path, name: str, sha256: str) -> None:
    file = path / name
    if not file.resolve().is_relative_to(path.resolve()):
        raise BundleError(f"bundle {path} names the file {name}, which lies outside of it: a bundle is one directory")
    try:
        found = sha256_of(file)
    except OSError as error:
        raise BundleError(
            f"bundle {path} lacks the file {name} ({error.strerror}): restore the bundle from where it came"
        ) from error
    if found != sha256:
        raise BundleError(
            f"{file} is not the file that model.json describes (sha256 {found[:12]}…, expected {sha256[:12]}…): "
            "it was damaged or exchanged, restore the bundle from where it came"
        )


def _golden_inputs(path: Path, manifest: Manifest) -> Image:
    try:
        with np.load(path / manifest.golden.path, allow_pickle=False) as archive:
            inputs: Image = archive["inputs"]
    except (ValueError, KeyError, OSError) as error:
        raise BundleError(f"{path / manifest.golden.path} has no golden inputs ({error}): export it again") from error
    wanted = manifest.input.spec.shape[1:]
    counts = {len(rows) for rows in manifest.golden.scores.values()} | {len(inputs)}
    widths = {len(row) for rows in manifest.golden.scores.values() for row in rows}
    if inputs.shape[1:] != wanted or inputs.dtype != np.uint8 or len(counts) != 1 or widths != {len(manifest.labels)}:
        raise BundleError(
            f"{path}: golden inputs {inputs.dtype} {inputs.shape} and golden scores do not fit the model's input "
            f"{wanted} and its {len(manifest.labels)} labels: export the bundle again"
        )
    return inputs
