"""`edgecls model import`: a bundle made from a model file of elsewhere."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import Bundle, load_bundle
from edge.conversion.original import Original
from edge.conversion.writer import name_of
from service.model.contents import fill, manifest_of, provenance_of
from service.model.engines import Answer, answers
from service.model.facts import MissingFlagsError, ModelFile, ModelFileError, Told
from service.model.labels import pass_label, told_apart
from service.model.metadata import read_metadata
from service.model.pictures import find_pictures
from service.model.wishes import asked, described, settle

_ALLOWED = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.05}
"""How far the bundle's scores may lie off the original's. Rounding falls to either side at the border of two steps."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A bundle that was made, and what there is to say of it.

    Attributes:
        source: the file that it was made of.
        told: of it, with where each thing was found.
        answers: of the installed engines.
        notes: what may surprise.
    """

    bundle: Bundle
    source: Path
    told: Told
    taken: Original
    answers: list[Answer]
    notes: list[str]

    def document(self) -> dict[str, object]:
        """For JSON."""
        manifest = self.bundle.manifest
        return {
            "bundle": str(self.bundle.path),
            "source": str(self.source),
            "origin": self.told.origin,
            "name": manifest.name,
            "version": manifest.version,
            "labels": manifest.labels,
            "pass_label": manifest.pass_label,
            "found": described(self.told, self.taken),
            "files": [
                {"precision": f.precision, "path": f.path, "bytes": self.bytes_of(f.precision)} for f in manifest.files
            ],
            "engines": [answer.document() for answer in self.answers],
            "metrics": manifest.metrics,
            "notes": self.notes,
        }

    def bytes_of(self, precision: str) -> int:
        """The size of the file of one precision, with its weights."""
        entries = [f for f in self.bundle.manifest.files if f.precision == precision]
        return sum((self.bundle.path / path).stat().st_size for f in entries for path, _ in f.hashes)


def import_model(args: argparse.Namespace) -> Imported:
    """Make the bundle that the command line asks for; nothing is left behind where that fails.

    Raises:
        ModelFileError: the file, or an option, cannot be used.
        MissingFlagsError: the file does not tell everything, and the command line neither.
        EdgeError: no engine runs what came out.
    """
    source = _model_path(args.file)
    wishes = asked(args)
    try:
        name = name_of(args.name, source.stem)
    except ValueError as error:
        raise ModelFileError(str(error)) from error
    output: Path = args.output or Path(name)
    if output.exists() or output.is_symlink():
        raise ModelFileError(f"{output} is there already: remove it, or give another --output")
    if not output.absolute().parent.is_dir():
        raise ModelFileError(f"{output.parent} does not exist: create it, or give another --output")
    files = find_pictures(args.images) if args.images else []
    try:
        model = open_model(source)
        told = read_metadata(model.facts)
        for option, value in wishes.items():
            told = told.then("--input" if option == "size" else f"--{option}", **{option: value})
        labels, twice = told_apart(told.labels or ())
        good = args.pass_label if told.labels is None else pass_label(labels, args.pass_label)
        taken, told = settle(model.facts, told, good)
    except MissingFlagsError as error:
        raise MissingFlagsError(f"{source} does not tell everything that a bundle needs; add {error}") from error
    except ModelFileError as error:
        raise ModelFileError(f"{source}: {error}") from error
    notes = [f"{len(twice)} labels come twice; their numbers were put behind: {', '.join(twice[:5])}"] if twice else []
    manifest = manifest_of(name, args.version, labels, str(good), taken) | {"provenance": provenance_of(source, told)}
    with _folder_that_becomes(output) as folder:
        try:
            notes += fill(folder, model, taken, manifest, files)
        except ModelFileError as error:
            raise ModelFileError(f"{source}: {error}") from error
        found = answers(load_bundle(folder))
        _check_answers(source, model, found)
    return Imported(load_bundle(output), source, told, taken, found, notes)


def open_model(path: Path) -> ModelFile:
    """The file, read by what fits it.

    Raises:
        ModelFileError: it is missing, or no model that can be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if path.suffix == ".xml" or start.lstrip().startswith(b"<?xml"):
            from service.model.ir_file import IrFile  # noqa: PLC0415  # OpenVINO is not everywhere

            return IrFile(path)
        if start.startswith(b"PK"):
            raise ModelFileError("it is a checkpoint of PyTorch or another archive: export the model to ONNX first")
        from service.model.onnx_file import OnnxFile  # noqa: PLC0415  # devices do not have it

        return OnnxFile(path)
    except ImportError as error:
        raise ModelFileError(
            f"importing needs the Python package {error.name}, which is not in a device's installation: import on a "
            "computer with pip install 'edgecls[import]' or a checkout of edgecls, and bring the bundle here"
        ) from error
    except OSError as error:
        raise ModelFileError(f"it cannot be read ({error.strerror or error}): check the path") from error


def _model_path(path: Path) -> Path:
    """The file; of a folder that Ultralytics wrote for OpenVINO, the one model in it."""
    if path.is_dir():
        inside = [*path.glob("*.xml"), *path.glob("*.onnx")]
        if len(inside) != 1:
            raise ModelFileError(f"{path} is a folder with {len(inside)} models in it: give the file")
        return inside[0]
    return path


def _check_answers(source: Path, model: ModelFile, found: list[Answer]) -> None:
    """The engine that the file was made for must give what the original gave.

    Raises:
        ModelFileError: it does not.
    """
    answer = next((a for a in found if a.precision == model.precision and a.installed), None)
    if answer is None or answer.difference is None:
        reason = "no engine that can run it is installed" if answer is None else answer.problem
        raise ModelFileError(f"{source}: nothing was written, for what came out does not work: {reason}")
    if not answer.difference <= _ALLOWED[model.precision]:
        raise ModelFileError(
            f"{source}: nothing was written, for what came out gives scores {answer.difference:.2g} off the original's"
        )


@contextmanager
def _folder_that_becomes(output: Path) -> Iterator[Path]:
    """A folder beside it, which takes its name when all went well, and is removed else."""
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.absolute().parent))
    try:
        yield folder
        mask = os.umask(0)
        os.umask(mask)
        folder.chmod(0o777 & ~mask)  # as a folder that was simply made
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
