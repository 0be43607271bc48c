"""Writing bundles: `model.json` and the files that it names. `edge.bundle` reads and checks them."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.bundle import NAME, BackendName, sha256_of
from edge.frame import Image
from edge.preprocess import InputSpec

GOLDEN = "golden.npz"
TOLERANCE = {"fp32": 0.02, "fp16": 0.05, "int8": 0.15}
"""How far the scores of another engine or processor may lie off. INT8 kernels round differently from one to the next;
with damaged weights, inverted pictures or swapped channels one of the inputs is off by far more."""


def name_of(asked: str | None, source: str) -> str:
    """The name of a new bundle.

    Args:
        asked: by the user, if at all.
        source: what it is made from otherwise, with dashes for what a name may not have.

    Raises:
        ValueError: no bundle may have that name.
    """
    name = asked if asked is not None else re.sub(r"[^a-z0-9.-]+", "-", source.lower()).strip("-.") or "model"
    if not re.fullmatch(NAME, name):
        raise ValueError(f"--name {name}: give small letters, digits, dots and dashes")
    return name


def golden_inputs(spec: InputSpec, seed: int = 7, count: int = 6) -> Image:
    """Rendered brushed surfaces with and without marks, (count, height, width, channels) uint8.

    Rendered, so that no picture of anybody's parts has to travel with a model. With three channels the surface and the
    mark have colours that are far from grey, so that an engine that swaps the channels does not give the same scores.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, *spec.shape[1:]), np.uint8)
    for number in range(count):
        streaks = rng.normal(0, 10, (1, spec.width, 1)) + rng.normal(0, 5, (spec.height, spec.width, 1))
        slope = np.linspace(-30, 30, spec.height)[:, None, None] * rng.uniform(-1, 1)
        surface = rng.uniform(70, 170) + streaks + slope
        (x1, y1), (x2, y2) = (rng.uniform(0.15, 0.85, (2, 2)) * (spec.width, spec.height)).astype(int).tolist()
        shade = [float(rng.integers(0, 60))] * spec.channels
        radius = int(rng.integers(4, max(5, spec.width // 6)))
        if spec.channels == 3:
            surface = surface + rng.permutation([-60.0, 0.0, 60.0])
            shade = rng.permutation([20.0, 110.0, 230.0]).tolist()
        image = np.clip(np.broadcast_to(surface, spec.shape[1:]), 0, 255).astype(np.uint8)
        if number % 3 == 1:
            cv2.line(image, (x1, y1), (x2, y2), shade, 2)
        elif number % 3 == 2:
            cv2.circle(image, (x1, y1), radius, shade, -1)
        images[number] = image
    return images


def write_manifest(bundle: Path, manifest: dict[str, Any]) -> None:
    """Replace model.json in one step, so that a reader never sees half of it."""
    new = bundle / "model.json.new"
    new.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(bundle / "model.json")


def add_file(
    bundle: Path,
    manifest: dict[str, Any],
    precision: str,
    name: str,
    scores: npt.NDArray[np.float32],
    *,
    backend: BackendName | None = None,
) -> None:
    """Enter a model file and its golden scores into the manifest, in place of earlier ones of that precision.

    A file whose name ends in .xml is one of OpenVINO's own format, with its weights beside it. One that is for one
    backend alone stands beside that for all, with golden scores of its own.
    """
    openvino = name.endswith(".xml")
    entry = {
        "precision": precision,
        "format": "openvino" if openvino else "onnx",
        "path": name,
        "sha256": sha256_of(bundle / name),
    }
    if openvino:
        entry["weights_sha256"] = sha256_of((bundle / name).with_suffix(".bin"))
    golden = manifest["golden"]["scores"]
    if backend is not None:
        entry["backend"] = backend
    for old in [f for f in manifest["files"] if f["precision"] == precision and backend in (None, f.get("backend"))]:
        manifest["files"].remove(old)
        golden.pop(old["path"], None)
    manifest["files"].append(entry)
    golden[name if backend else precision] = [[round(float(s), 5) for s in row] for row in scores]
    manifest["golden"]["tolerance"][precision] = TOLERANCE[precision]


def write_golden(bundle: Path, inputs: Image) -> dict[str, Any]:
    """Write the golden inputs; what the manifest says of them, without scores yet."""
    np.savez_compressed(bundle / GOLDEN, inputs=inputs)
    return {"path": GOLDEN, "sha256": sha256_of(bundle / GOLDEN), "scores": {}, "tolerance": {}}
