"""A model that reads the number which a test's camera has drawn into its picture: so a whole daemon says which picture
it has inspected. No training.

The number is in sixteen squares of 16 pixels at the top left, white for 1; the score of label `bitN` is 1 for 1.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import load_bundle
from models.bundle_writer import add_file, write_golden, write_manifest
from models.smaller import golden_scores

SQUARE, BITS = 16, 16
ROI = [0, 0, SQUARE * BITS, SQUARE]


def number_read(decision: dict[str, Any]) -> int:
    """From the scores of a decision, as it was told over MQTT."""
    return sum(1 << bit for bit in range(BITS) if decision["scores"][f"bit{bit}"] > 0.5)


def write_number_reader(folder: Path) -> Path:
    """A bundle, FP32."""
    folder.mkdir(parents=True)
    onnx.save(_graph(), folder / "model.onnx")
    pictures = np.full((2, SQUARE, SQUARE * BITS, 1), 16, np.uint8)
    pictures[1, :, : 3 * SQUARE] = 235
    manifest: dict[str, Any] = {
        "schema": "edgecls/bundle/1",
        "name": "number-reader",
        "version": "1",
        "task": "classification",
        "labels": [f"bit{bit}" for bit in range(BITS)],
        "pass_label": "bit0",
        "input": {
            "width": SQUARE * BITS,
            "height": SQUARE,
            "channels": 1,
            "colour": "GRAY",
            "layout": "NHWC",
            "dtype": "uint8",
            "mean": [0.0],
            "std": [1.0],
            "resize": "stretch",
        },
        "files": [],
        "golden": write_golden(folder, pictures),
        "metrics": {},
        "provenance": {},
    }
    add_file(folder, manifest, "fp32", "model.onnx", np.zeros((len(pictures), BITS), np.float32))
    write_manifest(folder, manifest)
    scores = golden_scores(folder / "model.onnx", load_bundle(folder))
    manifest["files"] = []
    add_file(folder, manifest, "fp32", "model.onnx", scores)
    write_manifest(folder, manifest)
    return folder


def _graph() -> onnx.ModelProto:
    """uint8 (1, 16, 256, 1) to scores (1, 16): how light the middle of each square is, nearly 0 or 1."""
    constants: dict[str, npt.NDArray[Any]] = {
        "squares": np.array([SQUARE, BITS, SQUARE], np.int64),
        "from": np.array([4, 4], np.int64),
        "to": np.array([12, 12], np.int64),
        "sides": np.array([0, 2], np.int64),
        "half": np.array(125, np.float32),
        "steep": np.array(0.2, np.float32),
        "one": np.array([1, BITS], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["numbers", "squares"], ["cut"], "cut"),
        helper.make_node("Slice", ["cut", "from", "to", "sides"], ["middles"], "middles"),
        helper.make_node("ReduceMean", ["middles", "sides"], ["levels"], "levels", keepdims=0),
        helper.make_node("Sub", ["levels", "half"], ["above"], "above"),
        helper.make_node("Mul", ["above", "steep"], ["logits"], "logits"),
        helper.make_node("Sigmoid", ["logits"], ["lights"], "lights"),
        helper.make_node("Reshape", ["lights", "one"], ["scores"], "scores"),
    ]
    graph = helper.make_graph(
        nodes,
        "number-reader",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SQUARE, SQUARE * BITS, 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, BITS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
