"""How to run a model: what may be asked for, and what was chosen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from edge import bundle
from edge.bundle import Precision

BackendName: TypeAlias = bundle.BackendName
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)

Device = Literal["cpu", "gpu", "npu", "cuda", "tensorrt", "xnnpack", "acl", "ncs2"]
Optimisation = Literal["none", "basic", "extended", "all"]
Hint = Literal["latency", "throughput"]
Auto = Literal["auto"]

BACKEND_OF: dict[Device, tuple[BackendName, ...]] = {
    "cpu": ("onnxruntime", "openvino"),
    "gpu": ("openvino",),
    "npu": ("openvino",),
    "cuda": ("onnxruntime",),
    "tensorrt": ("onnxruntime",),
    "xnnpack": ("onnxruntime",),
    "acl": ("onnxruntime",),
    "ncs2": ("openvino",),
}
"""Which backends can drive a device."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What is asked for. `auto` leaves the choice to `edge.backends.choose`.

    Attributes:
        backend: which runtime.
        device: what it runs on; `gpu` and `npu` are Intel's, `cuda` and `tensorrt` NVIDIA's.
        precision: which file of the bundle.
        threads: threads inside one inference.
        streams: how many inferences run at the same time, each with its threads, when lines share the engine. More wait
            for their turn in OpenVINO; in ONNX Runtime they share the cores.
        spinning: whether idle threads wait busily for the next inference (ONNX Runtime).
        optimisation: of the graph (ONNX Runtime).
        hint: whether one inference is to be quick, or many together.
        pinning: whether threads stay on one core each.
        cache_dir: where compiled models are kept; None: nowhere.
        tuning: what `edgecls tune` wrote; None: do not look.
        openvino_dir: the OpenVINO 2022.3 that drives the NCS2.
        fall_back_to_cpu: whether to go on with the CPU when the device fails or is not there.
    """

    backend: BackendName | Auto = "auto"
    device: Device | Auto = "auto"
    precision: Precision | Auto = "auto"
    threads: int | Auto = "auto"
    streams: int | Auto = "auto"
    spinning: bool | Auto = "auto"
    optimisation: Optimisation | Auto = "auto"
    hint: Hint | Auto = "auto"
    pinning: bool | Auto = "auto"
    cache_dir: Path | None = None
    tuning: Path | None = None
    openvino_dir: Path | None = None
    fall_back_to_cpu: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Every choice made. The attributes are those of `EngineSettings`."""

    backend: BackendName
    device: Device
    precision: Precision
    threads: int = 1
    streams: int = 1
    spinning: bool = False
    optimisation: Optimisation = "all"
    hint: Hint = "latency"
    pinning: bool = False

    def __str__(self) -> str:
        parts = [f"{self.precision} on {self.backend}, device {self.device}"]
        if self.device in ("cpu", "xnnpack", "acl"):
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        if self.streams > 1:
            parts.append(f"{self.streams} streams")
        parts += [word for word, on in (("spinning", self.spinning), ("pinned", self.pinning)) if on]
        return ", ".join(parts)
