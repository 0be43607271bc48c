"""INT8 against FP32, of each backend and of PyTorch eager, in turn in one process.

`python tests/benchmarks/bench_precision.py --models DIR`: the five models, or `--model NAME` alone. PyTorch runs the
network that the bundle was made of, for the published ones.
"""

import argparse
import os
from collections.abc import Callable

import numpy as np
from harness import PUBLISHED, SHIPPED, Table, asked, bundle, in_turn, main, ratio

from edge.backends import BACKENDS
from edge.bundle import Bundle
from edge.engine import Engine
from service.bench.measure import engine_turn

WANTED = {("resnet50", "fp32"): 3.0, ("resnet50", "torch"): 5.0}


def torch_run(name: str, model: Bundle) -> Callable[[], None]:
    """One inference with PyTorch as people write it: eager, FP32, every core."""
    import torch

    from models.zoo import NETWORKS

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network = NETWORKS[name].make(3, len(model.labels)).eval()
    spec = model.manifest.input.spec
    picture = torch.from_numpy(np.random.default_rng(1).random((1, 3, spec.height, spec.width), np.float32))

    def run() -> None:
        with torch.inference_mode():
            network(picture)

    return run


def measure(args: argparse.Namespace) -> list[Table]:
    table = Table(
        "INT8 against FP32: frames per second of the bare engine",
        (
            "model",
            "backend",
            "INT8 fps",
            "FP32 fps",
            "INT8 / FP32",
            "wanted",
            "PyTorch fps",
            "INT8 / PyTorch",
            "wanted",
        ),
    )
    for name in [args.model] if args.model else [*PUBLISHED, *SHIPPED]:
        model = bundle(args.models, name)
        runs = {
            f"{backend} {precision}": Engine(model, asked(backend, precision)).slot().infer
            for backend in BACKENDS
            for precision in ("int8", "fp32")
        }
        if name in PUBLISHED:
            runs["torch"] = torch_run(name, model)
        fps = in_turn(
            {key: lambda run=run: engine_turn(run, args.seconds, {}).fps for key, run in runs.items()},  # type: ignore[misc]  # mypy infers no defaults of lambdas
            args.rounds,
        )
        for backend in BACKENDS:
            int8, fp32 = fps[f"{backend} int8"], fps[f"{backend} fp32"]
            row: list[object] = [name, backend, _median(int8), _median(fp32), ratio(int8, fp32)]
            row.append(WANTED.get((name, "fp32"), ""))
            if "torch" in fps:
                row += [_median(fps["torch"]), ratio(int8, fps["torch"]), WANTED.get((name, "torch"), "")]
            table.add(*row, *[""] * (len(table.columns) - len(row)))
            if ratio(int8, fp32) < 1:
                table.notes.append(f"INT8 loses to FP32: {name} with {backend}.")
    return [table]


def _median(values: list[float]) -> float:
    return float(np.median(values))


if __name__ == "__main__":
    main(__doc__, measure, model={"help": "this one alone", "choices": (*PUBLISHED, *SHIPPED)})
