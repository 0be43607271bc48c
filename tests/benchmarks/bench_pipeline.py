"""What the pipeline costs over the bare engine, which takes turns with it in one process.

`python tests/benchmarks/bench_pipeline.py --models DIR`: frames in memory, of the model's size and of 1280x720, one
decision per frame, counted and dropped. `own` is what the pipeline does besides preprocessing and inference.
"""

import argparse
from statistics import median

from harness import Table, asked, bundle, main

from edge.backends import BACKENDS
from edge.sources import Source
from service.bench import frames
from service.bench.measure import Contender, candidate, race
from service.bench.report import Load

WANTED = {"model_size": 0.97, "hd": 0.93}
OWN_US = 60
PRECISIONS = ("int8", "fp32")


def measure(args: argparse.Namespace) -> list[Table]:
    model = bundle(args.models, args.model)
    spec = model.manifest.input.spec
    sources: dict[Load, Source] = {
        "model_size": frames.Memory(frames.pictures(model, (spec.width, spec.height))),
        "hd": frames.Memory(frames.pictures(model, frames.HD)),
    }
    contenders = [Contender(model, asked(backend, precision)) for backend in BACKENDS for precision in PRECISIONS]
    race(contenders, sources, args.seconds * args.rounds, args.rounds)
    table = Table(
        f"{args.model}: the pipeline over the bare engine",
        ("engine", "frames", "engine fps", "pipeline fps", "share", "wanted", "preprocess p50 µs", "own p50 µs"),
        notes=[f"`share` is of the engine's fps, the median of the rounds; own is wanted within {OWN_US} µs."],
    )
    for contender in contenders:
        found = candidate(contender, None)
        bare = found.results["engine"]
        for load in sources:
            result = found.results[load]
            share = median(one.fps / other.fps for one, other in zip(result.rounds, bare.rounds, strict=True))
            stages = result.stages
            size = f"{spec.width}x{spec.height}" if load == "model_size" else "1280x720"
            wanted = f"{WANTED[load]:.2f}" if found.plan.precision == "int8" else ""
            own_us = stages["rest"].p50 * 1e3
            table.add(found.name, size, bare.fps, result.fps, share, wanted, stages["preprocess"].p50 * 1e3, own_us)
    return [table]


if __name__ == "__main__":
    main(__doc__, measure, model={"default": "resnet18", "help": "(default: %(default)s)"})
