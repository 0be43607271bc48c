"""A model bundle on disk: `model.json` and the files that it names, read and checked.

`model.json` is the only thing that the workshop and the daemon share; `docs/bundles.md` describes it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from edge.area import Area
from edge.errors import BundleError
from edge.frame import Image
from edge.preprocess import FILL, Colour, InputSpec, InputType, Layout, Resize

Precision = Literal["int8", "fp16", "fp32"]
BackendName = Literal["onnxruntime", "openvino"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSection(_Strict):
    """`input` of model.json.

    With `dtype: uint8` the normalisation happens inside the graph and is told for people: by a fixed mean and std (of
    values 0 to 1), or `per_picture`, each picture by its own. With `float32` it is done before: (pixel / 255 - mean) /
    std, the channels in the order of `colour`.
    """

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    channels: Literal[1, 3]
    colour: Colour
    layout: Layout
    dtype: InputType
    normalisation: Literal["fixed", "per_picture"] = "fixed"
    mean: list[float]
    std: list[float]
    resize: Resize
    fill: int = Field(default=FILL, ge=0, le=255)
    overlap: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.overlap and self.resize != "tile":
            raise ValueError(f"overlap is for resize tile, not for {self.resize}")
        if self.overlap >= min(self.width, self.height):
            raise ValueError(f"overlap is {self.overlap}: tiles of {self.width}x{self.height} must be larger than that")
        return self

    @model_validator(mode="after")
    def _channels_fit_the_colour(self) -> Self:
        if self.channels != self.spec.channels:
            raise ValueError(f"colour {self.colour} has {self.spec.channels} channels, not {self.channels}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(
                    f"{name} has {len(values)} values, and the input {self.channels} channels: give one for each"
                )
        if any(not value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}: each value must be more than 0")
        if self.dtype == "float32" and self.normalisation == "per_picture":
            raise ValueError("normalisation per_picture happens inside the graph: it needs dtype uint8")
        return self

    @property
    def spec(self) -> InputSpec:
        """What the preprocessor needs of it."""
        return InputSpec(
            width=self.width,
            height=self.height,
            colour=self.colour,
            resize=self.resize,
            layout=self.layout,
            dtype=self.dtype,
            mean=tuple(self.mean),
            std=tuple(self.std),
            overlap=self.overlap,
            fill=self.fill,
        )


class FileSection(_Strict):
    """One model file: `precision`, `format`, `path` inside the bundle, `sha256` in hexadecimal.

    `backend` names the only one that it is for; without it, it is for every backend that reads the format (`onnx`:
    both, `openvino`: OpenVINO). A file of format `openvino` is the .xml; its weights lie beside it in a .bin of the
    same name, whose hash is `weights_sha256`.
    """

    precision: Precision
    format: Literal["onnx", "openvino"]
    path: str
    sha256: str
    weights_sha256: str | None = None
    backend: BackendName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.format == "openvino") != (self.weights_sha256 is not None):
            raise ValueError("weights_sha256 belongs to a file of format openvino, and to no other")
        if self.format == "openvino" and self.backend == "onnxruntime":
            raise ValueError("onnxruntime cannot read the format openvino")
        return self

    @property
    def hashes(self) -> list[tuple[str, str]]:
        """(path, sha256) of everything that belongs to it."""
        weights = [(str(Path(self.path).with_suffix(".bin")), self.weights_sha256)] if self.weights_sha256 else []
        return [(self.path, self.sha256), *weights]

    def suits(self, backend: BackendName) -> bool:
        """Whether that backend is to use it."""
        return self.backend == backend or (self.backend is None and (self.format == "onnx" or backend == "openvino"))


class GoldenSection(_Strict):
    """Inputs and what the reference answered.

    For a classifier these are its scores. For a segmenter the score of a label is the mean, over all pixels, of the
    confidence of those that show it (0 to 1): it tells of the mask and of the confidence at the same time.

    `path` is an .npz with `inputs`, (n, height, width, channels) uint8, BGR or grey. `scores[precision]` has n rows of
    one score per label; a file that answers otherwise than others of its precision has scores under its own path. An
    engine whose scores differ by more than `tolerance[precision]` anywhere is refused.
    """

    path: str
    sha256: str
    scores: dict[str, list[list[float]]]
    tolerance: dict[Precision, float]


NAME = r"^[a-z0-9][a-z0-9.-]*$"
"""Of a bundle: it becomes part of the name of a Debian package."""


class Manifest(_Strict):
    """model.json."""

    schema_: Literal["edgecls/bundle/1"] = Field(alias="schema")
    name: str = Field(pattern=NAME)
    version: str
    task: Literal["classification", "segmentation"]
    labels: list[str] = Field(min_length=2)
    pass_label: str
    absent_label: str | None = None
    min_area: dict[str, float | str] = Field(default_factory=dict)
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
        if self.task == "segmentation":
            self._check_segmentation()
        elif self.min_area or self.input.resize == "tile":
            raise ValueError("min_area and resize tile are for the task segmentation")
        missing = {f.precision for f in self.files if f.path not in self.golden.scores} - set(self.golden.scores)
        if missing:
            raise ValueError(f"golden.scores has nothing for {', '.join(sorted(missing))}")
        return self

    def _check_segmentation(self) -> None:
        if self.absent_label is not None:
            raise ValueError("absent_label is for the task classification: a mask shows where nothing is by itself")
        if len(self.labels) > 255:
            raise ValueError(f"labels has {len(self.labels)} labels, and a mask can tell 255 apart")
        for label, value in self.min_area.items():
            if label not in set(self.labels) - {self.pass_label}:
                raise ValueError(f"min_area names {label!r}, which is not one of labels, or is the pass_label")
            try:
                Area.parse(value)
            except ValueError as error:
                raise ValueError(f"min_area of {label} is {value!r}: it {error}") from error

    @property
    def min_areas(self) -> dict[str, Area]:
        """`min_area`, read."""
        return {label: Area.parse(value) for label, value in self.min_area.items()}


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

    def make_outputs(self, pictures: int = 1) -> tuple[npt.NDArray[Any], ...]:
        """Arrays for what the model gives for so many pictures.

        Of a classifier: scores, (n, labels) float32, softmax values. Of a segmenter, both (n, height, width) uint8: the
        mask, the number of the label that each pixel shows, and its confidence, 255 times the highest softmax value.
        """
        if self.manifest.task == "classification":
            return (np.zeros((pictures, len(self.labels)), np.float32),)
        _, height, width, _ = self.manifest.input.spec.shape
        return tuple(np.zeros((pictures, height, width), np.uint8) for _ in ("mask", "confidence"))

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that it has a file for, in the order of model.json."""
        return tuple(dict.fromkeys(f.precision for f in self.manifest.files))

    def precisions_for(self, backend: BackendName) -> tuple[Precision, ...]:
        """The precisions that it has a file for which that backend is to use."""
        return tuple(dict.fromkeys(f.precision for f in self.manifest.files if f.suits(backend)))

    def file(self, precision: Precision, backend: BackendName) -> Path:
        """The model file of one precision for one backend.

        Raises:
            BundleError: there is none.
        """
        return self.path / self._entry(precision, backend).path

    def golden_scores(self, precision: Precision, backend: BackendName) -> tuple[npt.NDArray[np.float32], float]:
        """What that file answers to the golden inputs, (n, labels), and how far an engine may lie off.

        Raises:
            BundleError: there is no such file.
        """
        golden, entry = self.manifest.golden, self._entry(precision, backend)
        scores = golden.scores.get(entry.path) or golden.scores[precision]
        return np.asarray(scores, np.float32), golden.tolerance.get(precision, 0.02)

    def _entry(self, precision: Precision, backend: BackendName) -> FileSection:
        # One that was made for this backend comes before one that is for all.
        suiting = [f for f in self.manifest.files if f.precision == precision and f.suits(backend)]
        for entry in sorted(suiting, key=lambda f: f.backend is None):
            return entry
        there = ", ".join(self.precisions_for(backend)) or "none"
        raise BundleError(
            f"bundle {self.path} has no {precision} model for {backend}, only {there}: "
            "set engine.precision to one of them or to auto"
        )


def load_bundle(path: Path) -> Bundle:
    """Read a bundle and check that it is whole. The golden scores are checked where an engine is made.

    Raises:
        BundleError: a file is missing, damaged, or says something that is not allowed.
    """
    manifest = _read_manifest(path)
    hashes = [one for f in manifest.files for one in f.hashes] + [(manifest.golden.path, manifest.golden.sha256)]
    for name, sha256 in hashes:
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
