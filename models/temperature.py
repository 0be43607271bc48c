"""Scores that mean what they say: dividing the logits of a classifier by one number, its temperature.

A network says 0.99 where it is right nine times of ten. Above 1 the temperature takes that back; the order of the
scores, and so every label, stays what it is (Guo et al., "On Calibration of Modern Neural Networks", 2017). It goes
into the graphs of the bundle, as a multiplication before the softmax, and into the golden scores: the daemon, and
every engine that it drives, does nothing for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino as ov
from onnx import helper, numpy_helper
from openvino import opset13 as ops

from edge.bundle import sha256_of
from models.metrics import LEAST_SCORE, Scores, calibration_error, log_loss

NODE = "temperature"
RANGE = (0.1, 10.0)
"""Where the best one is looked for. Beyond it the scores say nothing, and no dividing makes them."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A temperature and what it does.

    Attributes:
        value: what the logits are to be divided by.
        before, after: calibration error; `after` with temperatures that were fitted without the pictures measured.
        log_loss_before, log_loss_after: the same.
    """

    value: float
    before: float
    after: float
    log_loss_before: float
    log_loss_after: float


def fit(scores: Scores, truth: npt.NDArray[np.int64], groups: npt.ArrayLike) -> Fitted:
    """The temperature with the least log loss.

    Args:
        scores: (n, labels), softmax values.
        truth: (n,), index of the right label.
        groups: (n,), the object that each picture shows: the pictures of one are in one half of the cross-check.

    Raises:
        ValueError: there are fewer than two objects, or every answer is right: no temperature follows from that.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError("a temperature takes pictures of two objects or more: give more pictures")
    if bool((scores.argmax(1) == truth).all()):
        raise ValueError("every answer is right, so nothing tells how sure is too sure: give pictures that are harder")
    value = _best(scores, truth)
    half = numbers % 2 == 0
    checked = np.empty_like(scores)
    for part in (half, ~half):
        checked[part] = tempered(scores[part], _best(scores[~part], truth[~part]))
    return Fitted(
        value=round(value, 4),
        before=calibration_error(scores, truth),
        after=calibration_error(checked, truth),
        log_loss_before=log_loss(scores, truth),
        log_loss_after=log_loss(checked, truth),
    )


def tempered(scores: Scores, temperature: float) -> Scores:
    """What the scores become: softmax(log(scores) / temperature), for a logarithm undoes a softmax but for a shift."""
    logits = np.log(np.maximum(scores.astype(np.float64), LEAST_SCORE)) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)


def _best(scores: Scores, truth: npt.NDArray[np.int64]) -> float:
    """By narrowing down: the log loss has one minimum along the temperature."""

    def loss(logarithm: float) -> float:
        return log_loss(tempered(scores, float(np.exp(logarithm))), truth)

    return float(np.exp(_minimum(loss, float(np.log(RANGE[0])), float(np.log(RANGE[1])))))


def _minimum(of: Callable[[float], float], low: float, high: float) -> float:
    while high - low > 1e-4:
        third = (high - low) / 3
        low, high = (low, high - third) if of(low + third) < of(high - third) else (low + third, high)
    return (low + high) / 2


def enter(bundle: Path, manifest: dict[str, Any], fitted: Fitted, note: dict[str, Any]) -> float:
    """Put it into every model file of a bundle, on top of one that is there; what they are divided by together.

    Args:
        bundle: its folder; the files are replaced.
        manifest: of the bundle, changed: hashes, golden scores, `provenance.temperature`.
        fitted: what to enter.
        note: what it was fitted with, kept beside it.

    Raises:
        ValueError: a graph does not end in a softmax.
    """
    together = float(manifest["provenance"].get("temperature", {}).get("value", 1.0)) * fitted.value
    for entry in manifest["files"]:
        path = bundle / entry["path"]
        (_into_openvino if entry["format"] == "openvino" else _into_onnx)(path, together)
        entry["sha256"] = sha256_of(path)
        if entry["format"] == "openvino":
            entry["weights_sha256"] = sha256_of(path.with_suffix(".bin"))
    golden = manifest["golden"]["scores"]
    for name, rows in golden.items():
        scores = tempered(np.array(rows, np.float32), fitted.value)
        golden[name] = [[round(float(score), 5) for score in row] for row in scores]
    manifest["provenance"]["temperature"] = {"value": round(together, 4), **note}
    return together


def _into_onnx(path: Path, temperature: float) -> None:
    model = onnx.load(path)
    graph = model.graph
    factor = numpy_helper.from_array(np.array(1 / temperature, np.float32), f"{NODE}_factor")
    there = [weight for weight in graph.initializer if weight.name == factor.name]
    if there:
        kind = numpy_helper.to_array(there[0]).dtype
        there[0].CopyFrom(numpy_helper.from_array(np.array(1 / temperature, kind), factor.name))
    else:
        end = [number for number, node in enumerate(graph.node) if graph.output[0].name in node.output]
        if not end or graph.node[end[0]].op_type != "Softmax":
            raise ValueError(
                f"{path} does not end in a softmax: export it with the workshop, or `edgecls model import`"
            )
        softmax = graph.node[end[0]]
        graph.initializer.append(factor)
        node = helper.make_node("Mul", [softmax.input[0], factor.name], [f"{NODE}_logits"], NODE)
        softmax.input[0] = node.output[0]
        graph.node.insert(end[0], node)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _into_openvino(path: Path, temperature: float) -> None:
    model = ov.Core().read_model(path)
    softmax = model.outputs[0].node.input_value(0).node
    if softmax.get_type_name() != "Softmax":
        raise ValueError(f"{path} does not end in a softmax: quantise it again with the workshop")
    before = softmax.input_value(0)
    there = before.node
    if there.get_friendly_name() == NODE:
        before = there.input_value(0)
    scaled = ops.multiply(before, ops.constant(np.array(1 / temperature, np.float32)))
    scaled.set_friendly_name(NODE)
    softmax.input(0).replace_source_output(scaled.output(0))
    ov.save_model(model, path.with_suffix(".new.xml"), compress_to_fp16=False)
    del model
    for suffix in (".xml", ".bin"):
        path.with_suffix(f".new{suffix}").replace(path.with_suffix(suffix))
