"""INT8 for OpenVINO by NNCF, with accuracy control: the largest loss is given, layers that cost more stay in FP32.

NNCF begins with everything in INT8, which is the fastest, and takes back what harms most, one after the other, until
the loss is small enough.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nncf
import numpy.typing as npt
import openvino as ov
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from edge.frame import Image

WEIGHTED = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"}

Item = tuple[Image, Any]
"""A picture, (1, height, width, channels) uint8, and what is right about it, for a `Judge`."""

Judge = Callable[[Sequence[Any], Sequence[npt.NDArray[Any]]], tuple[float, list[float]]]
"""From what is right and the first output of the model, both per picture: how good it is, in all and per picture."""


@dataclass(frozen=True, slots=True)
class Controlled:
    """A model that was quantised.

    Attributes:
        model: of OpenVINO, INT8.
        kept: names of the layers that stayed in floating point to keep the accuracy, in the order of the graph.
        layers: how many layers with weights there are.
        in_int8: how many of these are in INT8.
    """

    model: ov.Model
    kept: tuple[str, ...]
    layers: int
    in_int8: int


def quantise_within(
    fp32: Path, calibration: Sequence[Image], held_to: Sequence[Item], judge: Judge, largest_loss: float
) -> Controlled:
    """The fastest INT8 form of a model of which the judge thinks no more than `largest_loss` less.

    Args:
        fp32: an ONNX file that takes uint8 (1, height, width, channels).
        calibration: pictures in that shape, to find the ranges with.
        held_to: what the judge judges by.
        judge: how good a model is, 0 to 1.
        largest_loss: of that, 0 to 1.
    """
    nncf.set_log_level(logging.ERROR)
    model = ov.Core().read_model(fp32)
    with tempfile.TemporaryDirectory() as folder:
        controlled = nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset(list(calibration)),
            nncf.Dataset(list(held_to)),
            _validation(judge),
            max_drop=largest_loss,
            drop_type=nncf.DropType.ABSOLUTE,
            subset_size=len(calibration),
            advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,  # 7 bits for the weights: see `edge.conversion.quantise`
                # The whole range that was seen. NNCF's own choice is a mean over the pictures, and a defect is rare.
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
            ignored_scope=nncf.IgnoredScope(names=_around(model), validate=False),
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                intermediate_model_dir=folder, ranking_subset_size=len(held_to)
            ),
        )
        everything = next(Path(folder).rglob("*.xml"), None)
        before = _in_int8(ov.Core().read_model(everything)) if everything else {}
    after = _in_int8(controlled)
    return Controlled(
        model=controlled,
        kept=tuple(
            name.split("/WithoutBiases")[0]  # as the ONNX file has it
            for name, inside in before.items()
            if inside and not after.get(name, False)
        ),
        layers=len(after),
        in_int8=sum(after.values()),
    )


def _validation(judge: Judge) -> Any:
    def validate(model: Any, items: Iterable[Item]) -> tuple[float, list[float]]:
        """NNCF ranks the layers by the figures of the single pictures."""
        compiled = model if isinstance(model, ov.CompiledModel) else ov.Core().compile_model(model, "CPU")
        truths, answers = [], []
        for picture, truth in items:
            truths.append(truth)
            answers.append(compiled(picture)[0].copy())
        return judge(truths, answers)

    return validate


def _around(model: ov.Model) -> list[str]:
    """What stands before the first layer with weights: it normalises the picture, and stays as it is."""
    names: list[str] = []
    for one in model.get_ordered_ops():
        if one.get_type_name() in WEIGHTED:
            return names
        if one.get_type_name() not in {"Parameter", "Constant"}:
            names.append(one.get_friendly_name())
    return names


def _in_int8(model: ov.Model) -> dict[str, bool]:
    """Of every layer with weights: whether these are in INT8."""
    layers = [one for one in model.get_ordered_ops() if one.get_type_name() in WEIGHTED]
    return {one.get_friendly_name(): any(_is_int8(value.get_node()) for value in one.input_values()) for one in layers}


def _is_int8(node: Any) -> bool:
    """Whether what comes here are weights that were quantised: at once, or packed as whole numbers already."""
    quantised = False
    while node.get_type_name() in {"Multiply", "Subtract", "Convert", "Reshape", "FakeQuantize"}:
        quantised = quantised or node.get_type_name() == "FakeQuantize"
        node = node.input_value(0).get_node()
    whole = node.get_type_name() == "Constant" and node.get_element_type() in {ov.Type.i8, ov.Type.u8}
    return whole or (quantised and node.get_type_name() == "Constant")


def save(controlled: Controlled, path: Path) -> None:
    """Write it in OpenVINO's own format, NAME.xml and NAME.bin.

    Raises:
        OSError: the folder cannot be written.
    """
    ov.save_model(controlled.model, path, compress_to_fp16=False)
