"""One figure of the speed table: one form of a network on one engine with one shape, in a process of its own.

The process is forked off one in which no engine has run yet, so that it is there at once and what it grows by is what
this form takes.
"""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import openvino
import torch
from openvino import properties as props

from edge.frame import Image
from models.speed_forms import Forms, Shape

SLOW_S = 2.0
"""What takes so long once is not repeated."""
LEAST = 3
TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True)
class Cell:
    """What was measured.

    Attributes:
        ms: of one inference, the median.
        runs: how many were timed.
        memory_mib: by how much the process grew at most, from loading the model on.
        scores: of each picture.
    """

    ms: float
    runs: int
    memory_mib: float
    scores: list[list[float]]


def measure_cell(forms: Forms, form: str, engine: str, shape: Shape, seconds: float) -> Cell:
    """Measure in a process of its own; the file is made in another one, before.

    Args:
        forms: of the network.
        form: one of `FORMS`.
        engine: one of `ENGINES`.
        shape: of the batch.
        seconds: to run for.

    Raises:
        RuntimeError: it did not work there, or took more than `TIMEOUT_S`.
    """
    what = f"{forms.network.name} {form} on {engine} with {shape}"
    file = make_file(forms, form, shape)
    cell: Cell = _in_a_child(what, partial(_measured, forms, file, engine, shape, seconds))
    return cell


def make_file(forms: Forms, form: str, shape: Shape) -> Path:
    """`Forms.file` in a process of its own, which takes the memory that exporting needs with it when it ends.

    Raises:
        RuntimeError: it did not work.
    """
    file: Path = _in_a_child(f"{forms.network.name} {form} for {shape}", partial(forms.file, form, shape))
    return file


def _in_a_child(what: str, work: Callable[[], Any]) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    try:
        done, answer = mine.recv() if mine.poll(TIMEOUT_S) else (False, f"no answer within {TIMEOUT_S} s")
    except EOFError:  # killed for memory, say
        done, answer = False, "its process ended"
    finally:
        process.kill()
        process.join()
        mine.close()
    if not done:
        raise RuntimeError(f"{what}: {answer}")
    return answer


def _answer(connection: Connection, work: Callable[[], Any]) -> None:
    try:
        connection.send((True, work()))
    except Exception as error:  # noqa: BLE001  # whatever an engine raises is the answer
        connection.send((False, str(error).strip().rsplit("\n", 1)[-1] or type(error).__name__))


def pictures_of(shape: Shape) -> Image:
    """The same pictures each time, uint8, (n, size, size, 3)."""
    pictures: Image = np.random.default_rng(shape.size).integers(0, 256, shape.dimensions, np.uint8)
    return pictures


def _measured(forms: Forms, file: Path, engine: str, shape: Shape, seconds: float) -> Cell:
    pictures = pictures_of(shape)
    before = _kib("VmRSS")
    run = _LOAD[engine](forms, file, pictures)
    begin = perf_counter()
    scores = run()
    took = [perf_counter() - begin]
    if took[0] < SLOW_S:
        took = []
        while sum(took) < seconds or len(took) < LEAST:
            begin = perf_counter()
            run()
            took.append(perf_counter() - begin)
    memory = (_kib("VmHWM") - before) / 1024
    rounded = [[round(float(score), 6) for score in row] for row in scores]
    return Cell(round(median(took) * 1e3, 4), len(took), round(memory, 1), rounded)


Scores = npt.NDArray[np.float32]


def _torch(forms: Forms, _file: Path, pictures: Image) -> Callable[[], Scores]:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    module, x = forms.module(), torch.from_numpy(pictures)

    def run() -> Scores:
        with torch.inference_mode():
            scores: Scores = module(x).numpy()
        return scores

    return run


def _onnxruntime(_forms: Forms, file: Path, pictures: Image) -> Callable[[], Scores]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def run() -> Scores:
        scores: Scores = session.run(None, {"image": pictures})[0]
        return scores

    return run


def _openvino(_forms: Forms, file: Path, pictures: Image) -> Callable[[], Scores]:
    settings = {
        props.hint.performance_mode: props.hint.PerformanceMode.LATENCY,
        props.hint.inference_precision: openvino.Type.f32,
    }
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()
    tensor = openvino.Tensor(pictures, shared_memory=True)

    def run() -> Scores:
        request.infer([tensor])
        scores: Scores = request.get_output_tensor(0).data
        return scores

    return run


_LOAD = {"torch": _torch, "onnxruntime": _onnxruntime, "openvino": _openvino}


def _kib(key: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{key}:"))
