"""`python -m models extend`: give an ONNX model of elsewhere the input that the camera writes."""

import argparse
from pathlib import Path
from typing import Literal

import onnx
from onnx import TensorProto

from edge.conversion.extend import INPUT, check, extend, the_input
from edge.conversion.original import Original
from edge.preprocess import Colour, Layout

__all__ = ["Original", "check", "extend", "the_input"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `extend`."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE.onnx", help="as it came")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument("--colour", choices=("RGB", "BGR", "GRAY"), help="what the model takes (default: RGB or GRAY)")
    parser.add_argument("--layout", choices=("NCHW", "NHWC"), help="of its input (default: what its shape tells)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="where its shape leaves it open")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0], help="of values 0 to 1, in the model's order")
    parser.add_argument("--std", type=float, nargs="+", default=[1.0], help="the same")
    parser.add_argument("--softmax", action="store_true", help="the model ends without one: add it")


def run(args: argparse.Namespace) -> None:
    """Extend the model, hold it against the original and write it.

    Raises:
        ValueError: this is no such model, or the extended one answers otherwise.
        OSError: a file cannot be read or written.
    """
    try:
        model = onnx.load(args.model)
    except Exception as error:  # protobuf's own, which is not worth a dependency
        if isinstance(error, OSError):
            raise
        raise ValueError(f"{args.model} is no ONNX model ({str(error).splitlines()[0]})") from error
    original = _original(model, args)
    extended = extend(model, original, softmax=args.softmax)
    difference = check(model, extended, original, softmax=args.softmax)
    onnx.save(extended, args.out)
    steps = ", ".join(node.op_type for node in extended.graph.node if node.name.startswith(f"{INPUT}/"))
    print(f"{args.out}: {steps} before the model; its scores differ from the original's by {difference:.1g} at most")


def _original(model: onnx.ModelProto, args: argparse.Namespace) -> Original:
    """From the graph what it tells, the rest from the command line."""
    value = the_input(model)
    kinds: dict[int, Literal["float32", "uint8"]] = {TensorProto.FLOAT: "float32", TensorProto.UINT8: "uint8"}
    dtype = kinds.get(value.type.tensor_type.elem_type)
    shape = _shape(value)
    if dtype is None or len(shape) != 4:
        raise ValueError(f"the input {value.name} is no picture: it takes four dimensions of float32 or uint8")
    axes: dict[Layout, int] = {"NCHW": 1, "NHWC": 3}
    layouts = [one for one, axis in axes.items() if shape[axis] in (1, 3) and args.layout in (None, one)]
    if len(layouts) != 1:
        raise ValueError(f"the input {value.name} is {shape}: say with --layout where its 1 or 3 channels are")
    channels, *size = (shape[1], shape[2], shape[3]) if layouts[0] == "NCHW" else (shape[3], shape[1], shape[2])
    height, width = (args.size[1], args.size[0]) if args.size else size
    if not (height and width) or (args.size and any(s and s != g for s, g in zip(size, (height, width), strict=True))):
        raise ValueError(f"the input {value.name} is {shape}: give --size WIDTH HEIGHT where it is 0, and only there")
    colour: Colour = args.colour or ("GRAY" if channels == 1 else "RGB")
    if (colour == "GRAY") != (channels == 1):
        raise ValueError(f"--colour {colour} does not fit {channels} channels")
    return Original(colour, layouts[0], height, width, dtype, tuple(args.mean), tuple(args.std))


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """Its dimensions; 0 where one is open."""
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
