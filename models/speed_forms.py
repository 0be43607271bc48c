"""The forms of one network whose speed is compared: as PyTorch, and as ONNX with fixed and with open shapes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import openvino
import torch
from torch import nn

from edge.conversion.quantise import quantise
from edge.frame import Image
from models.onnx_export import simplified, to_onnx
from models.random_weights import randomise, rendered
from models.zoo import Network, describe
from models.zoo.deployed import Deployed

NATIVE = 224
"""Pixels; INT8 is calibrated with pictures of this size."""
CALIBRATION = 32
FORMS_OPSET = 17
"""Fixed and open shapes by one and the same exporter of torch, so that nothing else differs between them."""
FORMS = {
    "pytorch": "PyTorch",
    "fixed": "fixed",
    "fixed-simplified": "fixed, simplified",
    "dynamic": "dynamic",
    "dynamic-simplified": "dynamic, simplified",
    "int8": "INT8",
}
ENGINES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A batch of square pictures."""

    pictures: int
    size: int

    def __str__(self) -> str:
        return f"{self.pictures}x{self.size}"

    @property
    def dimensions(self) -> tuple[int, int, int, int]:
        """(n, height, width, channels)."""
        return (self.pictures, self.size, self.size, 3)


class Forms:
    """The files of one network in a folder, made when they are asked for, and kept.

    Args:
        folder: of its own.
        name: of the network in the zoo.
        labels: how many scores it gives.
        seed: of its weights, which are by chance.
    """

    def __init__(self, folder: Path, name: str, labels: int = 4, seed: int = 1) -> None:
        self.folder = folder
        names = tuple(f"label {number}" for number in range(labels))
        self.network: Network = describe(name, names, (NATIVE, NATIVE), "BGR")
        self._seed = seed
        self._module: nn.Module | None = None

    @property
    def weights(self) -> Path:
        """Of the network in PyTorch, by name."""
        path = self.folder / "weights.pt"
        if not path.exists():
            module = self.network.make()
            randomise(module, self._seed, NATIVE)
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(module.state_dict(), path)
        return path

    def module(self) -> nn.Module:
        """The network in PyTorch as it is exported, in evaluation mode."""
        if self._module is None:
            plain = self.network.make()
            plain.load_state_dict(torch.load(self.weights, weights_only=True))
            self._module = Deployed(self.network, plain.eval()).eval()
        return self._module

    def file(self, form: str, shape: Shape) -> Path:
        """The file of a form for a shape: ONNX; of `pytorch` weights alone; of `openvino-PRECISION` OpenVINO's .xml.

        Raises:
            ValueError: it cannot be made.
        """
        if form == "pytorch":
            return self.weights
        if form.startswith("openvino-"):
            return self._openvino(form.removeprefix("openvino-"), shape)
        one_for_all = form.startswith("dynamic")
        path = self.folder / (f"{form}.onnx" if one_for_all else f"{form}-{shape}.onnx")
        if not path.exists():
            model = self._make(form, shape)
            new = path.with_suffix(".new")
            onnx.save(model, new)
            new.replace(path)
        return path

    def _make(self, form: str, shape: Shape) -> onnx.ModelProto:
        if form == "int8":
            return with_shape(onnx.load(self._quantised()), shape)
        if form.endswith("-simplified"):
            return simplified(onnx.load(self.file(form.removesuffix("-simplified"), shape)))
        example = torch.zeros(shape.dimensions, dtype=torch.uint8)
        if form == "dynamic":
            example = torch.zeros(2, NATIVE, NATIVE, 3, dtype=torch.uint8)
        return to_onnx(self.module(), example, shapes="all" if form == "dynamic" else "fixed", opset=FORMS_OPSET)

    def _openvino(self, precision: str, shape: Shape) -> Path:
        path = self.folder / f"{precision}-{shape}.xml"
        if not path.exists():
            source = self.file("int8" if precision == "int8" else "fixed-simplified", shape)
            openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=precision == "fp16")
        return path

    def _quantised(self) -> Path:
        path = self.folder / "int8.onnx"
        if not path.exists():
            native = self.file("fixed-simplified", Shape(1, NATIVE))
            quantise(native, path, self._calibration(), "minmax")
        return path

    def _calibration(self) -> Iterator[Image]:
        yield from rendered(NATIVE, self._seed + 1, CALIBRATION)[:, None]


def with_shape(model: onnx.ModelProto, shape: Shape) -> onnx.ModelProto:
    """The same model for another fixed shape of its input, (n, height, width, channels); changed in place.

    It works where no shape but that of the input is written in the graph, as in networks that end in a mean.
    """
    graph = model.graph
    for side, length in zip(graph.input[0].type.tensor_type.shape.dim, shape.dimensions, strict=True):
        side.dim_value = length
    graph.output[0].type.tensor_type.shape.dim[0].dim_value = shape.pictures
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model
