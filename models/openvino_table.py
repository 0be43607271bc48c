"""`python -m models openvino-table`: a network in PyTorch, and in OpenVINO's own format in FP32, FP16 and INT8."""

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
import torch
from openvino import properties as props
from tqdm import tqdm

from edge.frame import Image
from models.random_weights import rendered
from models.speed_cell import make_file
from models.speed_forms import NATIVE, Forms, Shape
from models.speed_report import device_in_words
from models.tables import markdown, write_report
from models.zoo import CLASSIFIERS

ROUNDS = 5
PRECISIONS = ("fp32", "fp16", "int8")
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One form.

    Attributes:
        name: for people.
        bytes: of its files.
        latency_ms: of one picture, the median.
        fps: pictures per second when several are on their way.
        difference: of scores to PyTorch, the largest.
    """

    name: str
    bytes: int
    latency_ms: float
    fps: float
    difference: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `openvino-table`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the table and the models")
    parser.add_argument("--network", choices=CLASSIFIERS, default="resnet50", help="(default: %(default)s)")
    parser.add_argument("--labels", type=int, default=1000, help="as published (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure and round (default: %(default)s)")
    parser.add_argument("--prepare", action="store_true", help="only make the models")


def run(args: argparse.Namespace) -> None:
    """Make the models that are missing, measure, print, and write openvino.md and openvino.json.

    Raises:
        RuntimeError: a model cannot be made or run.
        OSError: the folder cannot be written.
    """
    forms = Forms(args.out / "models" / args.network, args.network, labels=args.labels)
    for precision in tqdm(PRECISIONS, unit="model", disable=None):
        make_file(forms, f"openvino-{precision}", Shape(1, NATIVE))
    if args.prepare:
        return
    rows = measure(forms, args.seconds)
    device = device_in_words()
    text = f"{args.network}, {NATIVE}x{NATIVE}; {device}\n\n{table(rows)}"
    print(text)
    document = {"network": args.network, "device": device, "rows": [asdict(row) for row in rows]}
    write_report(args.out, "openvino", f"# OpenVINO\n\n{text}", document)


def measure(forms: Forms, seconds: float) -> list[Row]:
    """All forms in turns, so that what else the machine does happens to all of them."""
    pictures = rendered(NATIVE, 1000, 16)
    files = [forms.file(f"openvino-{precision}", Shape(1, NATIVE)) for precision in PRECISIONS]
    contenders: list[_Torch | _OpenVino] = [_Torch(forms), *(_OpenVino(file) for file in files)]
    names = ["PyTorch", *(f"OpenVINO {precision.upper()}" for precision in PRECISIONS)]
    sizes = [forms.weights.stat().st_size, *(_bytes_of(file) for file in files)]
    scores = [np.concatenate([one.infer(picture[None]).copy() for picture in pictures]) for one in contenders]
    latencies: list[list[float]] = [[] for _ in contenders]
    rates: list[list[float]] = [[] for _ in contenders]
    for _ in tqdm(range(ROUNDS), unit="round", disable=None):
        for one, latency, rate in zip(contenders, latencies, rates, strict=True):
            latency.append(_latency_ms(lambda one=one: one.infer(pictures[:1]), seconds))  # type: ignore[misc]  # mypy infers no defaults of lambdas
            rate.append(one.rate(pictures[:1], seconds))
    return [
        Row(name, size, round(median(latency), 2), round(median(rate), 2), float(np.abs(mine - scores[0]).max()))
        for name, size, latency, rate, mine in zip(names, sizes, latencies, rates, scores, strict=True)
    ]


def table(rows: list[Row]) -> str:
    """For people; sizes are those against OpenVINO FP32."""
    whole, first = rows[1].bytes, rows[0]
    head = ("form", "latency, ms", "against PyTorch", "pictures per second", "MB", "of FP32", "scores differ by")
    return markdown(
        head,
        [
            [
                row.name,
                f"{row.latency_ms:.2f}",
                f"{first.latency_ms / row.latency_ms:.2f}x",
                f"{row.fps:.1f}",
                f"{row.bytes / 1e6:.2f}",
                f"{row.bytes / whole:.3f}",
                f"{row.difference:.2g}",
            ]
            for row in rows
        ],
    )


class _Torch:
    """The network in PyTorch, eager; its throughput is that of one picture after the other."""

    def __init__(self, forms: Forms) -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._module = forms.module()

    def infer(self, picture: Image) -> Scores:
        with torch.inference_mode():
            scores: Scores = self._module(torch.from_numpy(picture)).numpy()
        return scores

    def rate(self, picture: Image, seconds: float) -> float:
        return 1e3 / _latency_ms(lambda: self.infer(picture), seconds)


class _OpenVino:
    """A model compiled twice: for latency, and for throughput with as many requests as OpenVINO finds best."""

    def __init__(self, file: Path) -> None:
        mode = props.hint.PerformanceMode
        compiled = [_compiled(file, mode.LATENCY), _compiled(file, mode.THROUGHPUT)]
        self._request = compiled[0].create_infer_request()
        self._queue = openvino.AsyncInferQueue(compiled[1])

    def infer(self, picture: Image) -> Scores:
        self._request.infer([openvino.Tensor(np.ascontiguousarray(picture))])
        scores: Scores = self._request.get_output_tensor(0).data
        return scores

    def rate(self, picture: Image, seconds: float) -> float:
        tensor = openvino.Tensor(np.ascontiguousarray(picture))
        for warm in (True, False):
            begin, count = perf_counter(), 0
            while perf_counter() - begin < (seconds / 4 if warm else seconds):
                self._queue.start_async([tensor])
                count += 1
            self._queue.wait_all()
        return count / (perf_counter() - begin)


def _compiled(file: Path, mode: Any) -> Any:
    settings = {props.hint.performance_mode: mode, props.hint.inference_precision: openvino.Type.f32}
    return openvino.Core().compile_model(file, "CPU", settings)


def _latency_ms(run: Callable[[], object], seconds: float) -> float:
    run()
    took: list[float] = []
    while sum(took) < seconds or len(took) < 3:
        begin = perf_counter()
        run()
        took.append(perf_counter() - begin)
    return median(took) * 1e3


def _bytes_of(file: Path) -> int:
    return file.stat().st_size + file.with_suffix(".bin").stat().st_size
