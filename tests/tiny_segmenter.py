"""A segmenter whose answer is known: bright pixels are a scratch, dark ones a hole, the rest is free. No training."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import load_bundle
from edge.conversion.quantise import quantise
from edge.frame import Image
from models.bundle_writer import add_file, write_golden, write_manifest
from models.mask_outputs import append_mask
from models.smaller import golden_scores

LABELS = ["free", "scratch", "hole"]
GREY = 127
"""What is free."""


def write_segmenter(folder: Path, size: int = 64, *, pictures: int | str = 1, **changed: Any) -> Path:
    """A bundle, FP32 and INT8. `pictures`: how many the model takes at a time, or a name: any number."""
    folder.mkdir(parents=True)
    model = graph(size, pictures)
    append_mask(model)
    onnx.save(model, folder / "model.onnx")
    inputs = golden(size)
    of_tiles = {"resize": "tile", "overlap": 16} if isinstance(pictures, str) else {"resize": "stretch"}
    manifest: dict[str, Any] = {
        "schema": "edgecls/bundle/1",
        "name": "tiny",
        "version": "1",
        "task": "segmentation",
        "labels": LABELS,
        "pass_label": "free",
        "input": {
            "width": size,
            "height": size,
            "channels": 1,
            "colour": "GRAY",
            "layout": "NHWC",
            "dtype": "uint8",
            "mean": [0.0],
            "std": [1.0],
            **of_tiles,
        },
        "files": [],
        "golden": write_golden(folder, inputs),
        "metrics": {},
        "provenance": {},
    }
    add_file(folder, manifest, "fp32", "model.onnx", np.zeros((len(inputs), len(LABELS)), np.float32))
    write_manifest(folder, manifest)
    quantise(folder / "model.onnx", folder / "model.int8.onnx", [image[None] for image in inputs], "minmax")
    for precision, name in (("fp32", "model.onnx"), ("int8", "model.int8.onnx")):
        add_file(folder, manifest, precision, name, golden_scores(folder / name, load_bundle(folder)))
    for key, value in changed.items():
        if key == "input":
            manifest["input"] |= value
        else:
            manifest[key] = value
    write_manifest(folder, manifest)
    return folder


def golden(size: int) -> Image:
    """One free picture, one with a scratch, one with a hole."""
    pictures = np.full((3, size, size, 1), GREY, np.uint8)
    pictures[1, 10:14, 8:40] = 250
    pictures[2, 20:40, 20:40] = 5
    return pictures


def graph(size: int, pictures: int | str) -> onnx.ModelProto:
    """uint8 (pictures, size, size, 1) to logits (pictures, 3, size, size): a plane of the grey level for each label."""
    weights = np.array([0, 10, -10], np.float32).reshape(3, 1, 1, 1)
    offsets = np.array([2, -10 * GREY / 255, 10 * GREY / 255], np.float32)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "most"], ["shares"], "div"),
        helper.make_node("Conv", ["shares", "weights", "offsets"], ["logits"], "conv", kernel_shape=[1, 1]),
    ]
    graph_ = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [pictures, size, size, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [pictures, len(LABELS), size, size])],
        [
            numpy_helper.from_array(np.array(255, np.float32), "most"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(offsets, "offsets"),
        ],
    )
    return helper.make_model(graph_, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
