"""From a network in PyTorch to an ONNX file: checked, simplified, and held against the network, output by output."""

import io
import logging
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxslim
import torch
from onnx import ModelProto
from onnxruntime import InferenceSession
from torch import Tensor, nn

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
INPUT = "image"
SIDES = ("batch", "height", "width")

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
    multiple: int = 1,
    simplify: bool = True,
) -> Operators:
    """Write a network as ONNX, when all is well; see `to_onnx` and `simplified`.

    Raises:
        ValueError: the network is in training mode, or has an operator that ONNX does not have.
    """
    exported = to_onnx(module, example, output=output, shapes=shapes, opset=opset, multiple=multiple)
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
    multiple: int = 1,
) -> ModelProto:
    """A network as torch's exporter writes it, checked, with the input `image` and one output.

    Args:
        module: takes one tensor, (n, height, width, channels) or, with fixed shapes, whatever the example is; in
            evaluation mode.
        example: an input; with fixed shapes its shape is the only one that the model takes.
        output: its name.
        shapes: what the model leaves open.
        opset: version of the operators, `OLDEST_OPSET` or later.
        multiple: of what heights and widths have to be, where they are open.

    Raises:
        ValueError: the network is in training mode, or has an operator that ONNX does not have.
    """
    _refuse_training_mode(module)
    if opset < OLDEST_OPSET:
        raise ValueError(f"opset {opset}: give {OLDEST_OPSET} or later")
    model = _exported(module, example, output, opset, _open_sides(shapes, multiple))
    for side, name in zip(model.graph.input[0].type.tensor_type.shape.dim, SIDES, strict=False):
        if side.dim_param:  # 32*_height and the like
            side.dim_param = name
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
) -> dict[str, float]:
    """The largest difference between the file's answers, in ONNX Runtime, and the original's, of each output.

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
    found: dict[str, float] = {output.name: 0.0 for output in session.get_outputs()}
    for case in cases:
        with torch.no_grad():
            answer = original(torch.from_numpy(case))
        wanted = [answer] if isinstance(answer, Tensor) else list(answer)
        given: list[Array] = session.run(None, {session.get_inputs()[0].name: case})
        for name, mine, theirs in zip(found, given, wanted, strict=True):
            difference = float(np.abs(mine - theirs.numpy()).max()) if mine.shape == tuple(theirs.shape) else np.inf
            # NaN is no small difference.
            found[name] = max(found[name], difference if difference == difference else np.inf)  # noqa: PLR0124
    return found


def _refuse_training_mode(module: nn.Module) -> None:
    left = [type(part).__name__ for part in module.modules() if part.training]
    if left:
        raise ValueError(
            f"the network is left in training mode ({left[0]} and {len(left) - 1} more parts): its answers would "
            "depend on the batch and on chance, call eval() before it is exported"
        )


def _open_sides(shapes: Shapes, multiple: int) -> dict[int, Any]:
    """For each dimension that is open, what torch is to take for it."""
    if shapes == "fixed":
        return {}
    sides = {0: torch.export.Dim("batch", min=1)}
    if shapes == "all":
        sides |= {axis: _side(SIDES[axis], multiple) for axis in (1, 2)}
    return sides


def _side(name: str, multiple: int) -> Any:
    return torch.export.Dim(name, min=32) if multiple == 1 else multiple * torch.export.Dim(f"_{name}", min=1)


def _exported(module: nn.Module, example: Tensor, output: str, opset: int, sides: dict[int, Any]) -> ModelProto:
    if 0 in sides and len(example) == 1:  # an example of one picture would be taken for a rule
        example = torch.cat([example, example])
    # The exporter tells about packages that we do not use, and about its own future.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export = _by_the_newer_exporter if opset >= OPSET else _by_the_older_exporter
            return export(module, example, output, opset, sides)
    except Exception as error:  # torch's have no common ancestor of their own
        raise ValueError(f"the network cannot be written as ONNX with opset {opset}: {_reason(error)}") from error


def _by_the_newer_exporter(
    module: nn.Module, example: Tensor, output: str, opset: int, sides: dict[int, Any]
) -> ModelProto:
    program = torch.onnx.export(
        module,
        (example,),
        input_names=[INPUT],
        output_names=[output],
        opset_version=opset,
        dynamic_shapes=(sides,) if sides else None,
        dynamo=True,
        optimize=False,  # what simplifying does is to be seen
        verbose=False,
    )
    model: ModelProto = program.model_proto
    found = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if found != opset:  # it says so in a warning alone
        raise RuntimeError(f"torch's exporter gives {found} instead")
    return model


def _by_the_older_exporter(
    module: nn.Module, example: Tensor, output: str, opset: int, sides: dict[int, Any]
) -> ModelProto:
    """The newer one writes opset 18 and leaves it to a converter to go back, which cannot do so with ReduceMean."""
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        buffer,
        input_names=[INPUT],
        output_names=[output],
        opset_version=opset,
        dynamic_axes={INPUT: {axis: SIDES[axis] for axis in sides}},
        dynamo=False,
        verbose=False,
    )
    return onnx.load_from_string(buffer.getvalue())


def _reason(error: BaseException | None) -> str:
    """One sentence out of the pages that torch writes."""
    chain = []
    while error is not None:
        chain.append(str(error))
        error = error.__cause__
    operator = re.search(r"No (?:decompositions|ONNX function).*?op='([^']+)'", "\n".join(chain), re.DOTALL)
    if operator:
        return f"ONNX has no operator for {operator[1]}, replace it by others"
    return chain[-1].strip().splitlines()[0]


def _count(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)
