"""From a network in PyTorch to an ONNX file: checked, simplified, and held against the network, output by output."""

import io
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxslim
import torch
from onnx import ModelProto
from onnxruntime import InferenceSession
from torch import Tensor, nn

from edge.conversion.quantise import without_notes
from edge.frame import Image
from models.tables import markdown

Shapes = Literal["fixed", "batch", "all"]
SHAPES: dict[Shapes, str] = {
    "fixed": "one picture of one size",
    "batch": "any number of pictures of one size",
    "all": "any number of pictures of any size",
}
OPSET = 18
"""What torch's exporter is written for."""
OLDEST_OPSET = 13
"""The newest that OpenVINO 2021 reads, which drives the NCS2."""
LARGEST_DIFFERENCE = {"scores": 1e-4, "logits": 1e-3}
"""That an answer may lie off PyTorch's; above 10 a ten-thousandth of the answer, for float32 rounds by the size."""
INPUT = "image"
SIDES = ("batch", "height", "width")
_OPEN: dict[Shapes, tuple[str, ...]] = {"fixed": (), "batch": SIDES[:1], "all": SIDES}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Operators:
    """How many of each operator there were before simplifying, and after."""

    before: Counter[str]
    after: Counter[str]

    def table(self) -> str:
        """For people."""
        names = sorted({*self.before, *self.after}, key=lambda name: (-self.before[name], name))
        rows: list[list[object]] = [[name, self.before[name], self.after[name]] for name in names]
        return markdown(
            ("operator", "exported", "simplified"), [*rows, ["all", self.before.total(), self.after.total()]]
        )


def write_onnx(
    module: nn.Module,
    example: Tensor,
    path: Path,
    *,
    output: str = "scores",
    shapes: Shapes = "fixed",
    opset: int = OPSET,
    simplify: bool = True,
) -> Operators:
    """Write a network as ONNX, when all is well; see `to_onnx` and `simplified`.

    Raises:
        ValueError: the network is in training mode, or has an operator that ONNX does not have.
    """
    exported = to_onnx(module, example, output=output, shapes=shapes, opset=opset)
    model = simplified(exported) if simplify else exported
    new = path.with_name(f"{path.name}.new")
    onnx.save(model, new)
    new.replace(path)
    return Operators(_count(exported), _count(model))


def to_onnx(
    module: nn.Module,
    example: Tensor,
    *,
    output: str = "scores",
    shapes: Shapes = "fixed",
    opset: int = OPSET,
) -> ModelProto:
    """A network as torch's exporter writes it, checked, with the input `image` and one output.

    Args:
        module: takes one tensor, (n, height, width, channels) or, with fixed shapes, whatever the example is; in
            evaluation mode.
        example: an input; with fixed shapes its shape is the only one that the model takes.
        output: its name.
        shapes: what the model leaves open.
        opset: version of the operators, `OLDEST_OPSET` or later.

    Raises:
        ValueError: the network is in training mode, or has an operator that ONNX does not have.
    """
    _refuse_training_mode(module)
    if opset < OLDEST_OPSET:
        raise ValueError(f"opset {opset}: give {OLDEST_OPSET} or later")
    model = without_notes(_exported(module, example, output, opset, _OPEN[shapes]))
    onnx.checker.check_model(model, full_check=True)
    return model


def simplified(model: ModelProto) -> ModelProto:
    """The same with constants folded, and operators joined or dropped, checked."""
    slim: ModelProto = onnxslim.slim(model)
    onnx.checker.check_model(slim, full_check=True)
    return slim


def differences(
    original: Callable[[Tensor], Tensor | Sequence[Tensor]],
    path: Path,
    inputs: Image,
    shapes: Shapes,
    multiple: int = 1,
) -> dict[str, tuple[float, bool]]:
    """How far the file's answers, in ONNX Runtime, lie off the original's at most, and whether that is near; by output.

    Args:
        original: of uint8 (n, height, width, channels), in evaluation mode.
        path: the ONNX file.
        inputs: (n, height, width, channels) uint8: one after the other, with an open batch also together, and with
            open sides also larger ones.
        shapes: what the file leaves open.
        multiple: of what heights and widths have to be.
    """
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    cases = [image[None] for image in inputs]
    if shapes != "fixed":
        cases.append(inputs)
    if shapes == "all":
        more = [(0, 0), (0, multiple), (0, 2 * multiple), (0, 0)]
        cases.append(np.pad(inputs[:2], more, "reflect"))
    found = {output.name: (0.0, True) for output in session.get_outputs()}
    for case in cases:
        with torch.no_grad():
            answer = original(torch.from_numpy(case))
        wanted = [answer] if isinstance(answer, Tensor) else list(answer)
        given: list[Array] = session.run(None, {session.get_inputs()[0].name: case})
        for name, mine, theirs in zip(found, given, wanted, strict=True):
            difference = float(np.abs(mine - theirs.numpy()).max()) if mine.shape == tuple(theirs.shape) else np.inf
            allowed = LARGEST_DIFFERENCE[name] * max(1.0, float(theirs.abs().max()) / 10)
            difference = np.inf if np.isnan(difference) else difference  # NaN is no small difference
            most, near = found[name]
            found[name] = max(most, difference), near and difference < np.inf and difference <= allowed
    return found


def _refuse_training_mode(module: nn.Module) -> None:
    left = [type(part).__name__ for part in module.modules() if part.training]
    if left:
        raise ValueError(
            f"the network is left in training mode ({left[0]} and {len(left) - 1} more parts): its answers would "
            "depend on the batch and on chance, call eval() before it is exported"
        )


def _exported(module: nn.Module, example: Tensor, output: str, opset: int, sides: Sequence[str]) -> ModelProto:
    # The exporters tell about packages that we do not use, and about their own future.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    export = _by_the_newer_exporter if opset >= OPSET and not sides else _by_the_older_exporter
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export(module, example, output, opset, sides)
    except Exception as error:  # torch's have no common ancestor of their own
        raise ValueError(f"the network cannot be written as ONNX with opset {opset}: {_reason(error)}") from error


def _by_the_newer_exporter(
    module: nn.Module, example: Tensor, output: str, opset: int, _sides: Sequence[str]
) -> ModelProto:
    program = torch.onnx.export(
        module,
        (example,),
        input_names=[INPUT],
        output_names=[output],
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    model: ModelProto = program.model_proto
    found = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if found != opset:  # it says so in a warning alone
        raise RuntimeError(f"torch's exporter gives {found} instead")
    return model


def _by_the_older_exporter(
    module: nn.Module, example: Tensor, output: str, opset: int, sides: Sequence[str]
) -> ModelProto:
    """For what the newer one does not do well.

    It writes opset 18 and leaves it to a converter to go back, which cannot do so with ReduceMean. With open sides it
    takes a minute where this one takes seconds, and writes larger graphs.
    """
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        buffer,
        input_names=[INPUT],
        output_names=[output],
        opset_version=opset,
        dynamic_axes={INPUT: dict(enumerate(sides)), output: {0: SIDES[0]}} if sides else None,
        dynamo=False,
        verbose=False,
    )
    return onnx.load_from_string(buffer.getvalue())


def _reason(error: BaseException | None) -> str:
    """One sentence out of the pages that torch writes."""
    chain = []
    while error is not None:
        chain.append(str(error).strip())
        error = error.__cause__
    for text in reversed(chain):
        operator = re.search(r"aten(?:::|\.)(\w+)", text)
        if operator:
            return f"it has no operator for {operator[1]}, make the network do without"
    return chain[-1].splitlines()[0] if chain[-1] else "torch does not say why"


def _count(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)
