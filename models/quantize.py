"""`python -m models quantize`: add a statically quantised INT8 model (QDQ) to a bundle."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.backends import EngineSettings, Plan
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, load_bundle
from edge.engine import Engine
from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor
from edge.sources.images import read_image
from models.bundle_writer import add_file, read_manifest, write_manifest
from models.dataset import Picture, read_dataset

FILE = "model.int8.onnx"
METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `quantize`."""
    parser.add_argument("--model", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="labelled pictures to calibrate with")
    parser.add_argument("--split", default="train", choices=("train", "val", "all"))
    parser.add_argument(
        "--count", type=int, default=256, help="pictures, spread over the labels (default: %(default)s)"
    )
    parser.add_argument("--method", choices=sorted(METHODS), default="minmax")
    parser.add_argument("--seed", type=int, default=1)


def run(args: argparse.Namespace) -> None:
    """Quantise, check that the runtime can run it, and enter it into the bundle.

    Raises:
        ValueError: no bundle, no pictures.
        EdgeError: the bundle is damaged.
    """
    bundle = load_bundle(args.model)
    pictures = _spread(read_dataset(args.data).split(args.split), args.count, args.seed)
    if not pictures:
        raise ValueError(f"{args.data} has no pictures in the split {args.split}: nothing to calibrate with")
    path = args.model / FILE
    fp32 = bundle.file("fp32", "onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        prepared, new = Path(folder) / "prepared.onnx", Path(folder) / FILE
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)  # every shape is fixed
        quantize_static(
            str(prepared),
            str(new),
            _Calibration(pictures, bundle.manifest.input.spec),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # The first steps normalise the picture and the last one makes scores of it: they stay as they are.
            op_types_to_quantize=["Conv", "Add", "Relu", "Gemm", "MatMul", "MaxPool", "GlobalMaxPool", "Resize"],
            nodes_to_exclude=[],
            calibrate_method=METHODS[args.method],
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        path.write_bytes(new.read_bytes())
    manifest = read_manifest(args.model)
    add_file(args.model, manifest, "int8", FILE, golden_scores(path, bundle))
    manifest["provenance"]["quantisation"] = {"method": args.method, "pictures": len(pictures), "format": "QDQ"}
    write_manifest(args.model, manifest)
    engine = Engine(load_bundle(args.model), EngineSettings(precision="int8"))
    sizes = fp32.stat().st_size, path.stat().st_size
    print(
        f"{path}: {sizes[1] / 1e6:.2f} MB, {sizes[0] / sizes[1]:.2f} times smaller; "
        f"calibrated with {len(pictures)} pictures ({args.method}); runs in {engine.plan.backend}"
    )


def golden_scores(model: Path, bundle: Bundle) -> npt.NDArray[np.float32]:
    """What ONNX Runtime's own backend answers to the golden inputs."""
    spec = bundle.manifest.input.spec
    picture: Image = np.empty(spec.shape, np.uint8)
    scores = np.empty((1, len(bundle.labels)), np.float32)
    run = OnnxRuntimeBackend(model, spec, Plan("onnxruntime", "cpu", "int8"), None).bind(picture, scores)
    rows = []
    for image in bundle.golden_inputs:
        picture[0] = image
        run()
        rows.append(scores[0].copy())
    return np.stack(rows)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the library is untyped
    """Feeds pictures through the very preprocessing of the daemon."""

    def __init__(self, pictures: list[Picture], spec: InputSpec) -> None:
        self._pictures = iter(pictures)
        self._target: Image = np.empty(spec.shape, np.uint8)
        self._preprocess = Preprocessor(spec, self._target)

    def get_next(self) -> dict[str, Image] | None:
        picture = next(self._pictures, None)
        if picture is None:
            return None
        self._preprocess(read_image(picture.image))
        return {"image": self._target.copy()}


def _spread(pictures: list[Picture], count: int, seed: int) -> list[Picture]:
    """`count` pictures, as evenly over the labels as there are pictures of each."""
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[Picture]] = {}
    for index in rng.permutation(len(pictures)):
        by_label.setdefault(pictures[index].label, []).append(pictures[index])
    chosen: list[Picture] = []
    while len(chosen) < min(count, len(pictures)):
        chosen += [rest.pop() for rest in by_label.values() if rest]
    return chosen[:count]
