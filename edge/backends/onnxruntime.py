"""ONNX Runtime: one session that all lines share, inputs and outputs bound once."""

import logging
import os
from pathlib import Path
from typing import Any

# ONNX Runtime's newer wheels send telemetry unless this is set before the first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy.typing as npt
import onnxruntime as ort

from edge.backends import Output, Run
from edge.backends.host_input import HostInput
from edge.backends.plan import Device, Plan
from edge.errors import BackendError, EngineError
from edge.frame import Image
from edge.preprocess import InputSpec

log = logging.getLogger(__name__)

PROVIDERS: dict[Device, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "acl": "ACLExecutionProvider",
}
_OPTIMISATION = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
version: str = ort.__version__


def devices() -> tuple[Device, ...]:
    """The devices that the installed build has an execution provider for."""
    installed = set(ort.get_available_providers())
    return tuple(device for device, provider in PROVIDERS.items() if provider in installed)


class OnnxRuntimeBackend:
    """An ONNX Runtime session. Any thread may run what `bind` gives, at the same time as others.

    Args:
        model: an ONNX file.
        spec: what the file takes.
        plan: how to run it; its device is one of `devices()`.
        cache_dir: where TensorRT keeps what it has compiled; None: nowhere.

    Raises:
        BackendError: ONNX Runtime refuses the model, or the device cannot be used.
    """

    def __init__(self, model: Path, spec: InputSpec, plan: Plan, cache_dir: Path | None) -> None:
        self.plan = plan
        self._spec = spec
        try:
            self._session = ort.InferenceSession(str(model), _options(plan), providers=_providers(plan, cache_dir))
        except Exception as error:  # the runtime's exceptions have no common ancestor of their own
            raise _refusal(model, error) from error
        # A provider whose libraries are missing is left out with no more than a warning.
        if PROVIDERS[plan.device] not in self._session.get_providers():
            raise BackendError(
                f"ONNX Runtime cannot use the device {plan.device}, although this build knows it: "
                "install its libraries and drivers, or set engine.device to another one"
            )
        self._model = model
        self._input: str = self._session.get_inputs()[0].name
        given = self._session.get_outputs()
        self._outputs: list[str] = [output.name for output in given]
        self.outputs = tuple(
            Output(
                _DTYPES.get(output.type, output.type),
                tuple(side if isinstance(side, int) else -1 for side in output.shape),
            )
            for output in given
        )

    def bind(self, image: Image, *outputs: npt.NDArray[Any]) -> Run:
        """See `Backend.bind`."""
        host = None if self._spec.as_preprocessed else HostInput(self._spec, image)
        session = self._session
        try:
            binding = session.io_binding()
            # The OrtValues borrow the arrays' memory, so they and the arrays must live as long as the binding.
            bound = [ort.OrtValue.ortvalue_from_numpy(array) for array in (host.array if host else image, *outputs)]
            binding.bind_ortvalue_input(self._input, bound[0])
            for name, value in zip(self._outputs, bound[1:], strict=False):
                binding.bind_ortvalue_output(name, value)
        except Exception as error:
            raise _refusal(self._model, error) from error

        def run(_alive: object = bound) -> None:
            if host is not None:
                host()
            try:
                session.run_with_iobinding(binding)
            except Exception as error:
                raise EngineError(f"ONNX Runtime failed while running: {_first_line(error)}") from error

        return run

    def close(self) -> None:
        """The session ends with its last user."""


def _options(plan: Plan) -> ort.SessionOptions:
    options = ort.SessionOptions()
    # XNNPACK has threads of its own: those of ONNX Runtime would only be in their way.
    options.intra_op_num_threads = 1 if plan.device == "xnnpack" else plan.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _OPTIMISATION[plan.optimisation]
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if plan.spinning else "0")
    if plan.pinning and plan.threads > 1:
        # One entry for each thread but the caller's, which is ours.
        cores = sorted(os.sched_getaffinity(0))
        rest = [str(cores[number % len(cores)] + 1) for number in range(1, plan.threads)]
        options.add_session_config_entry("session.intra_op_thread_affinities", ";".join(rest))
    options.log_severity_level = 3
    return options


def _providers(plan: Plan, cache_dir: Path | None) -> list[Any]:
    """The device first, then what computes the operators that it lacks."""
    name, cpu = PROVIDERS[plan.device], PROVIDERS["cpu"]
    match plan.device:
        case "tensorrt":
            options: dict[str, object] = {
                "trt_fp16_enable": plan.precision != "fp32",
                "trt_int8_enable": plan.precision == "int8",  # the scales are those of the QDQ file
            }
            if cache_dir is not None:
                folder = cache_dir / "tensorrt"
                folder.mkdir(parents=True, exist_ok=True)
                options |= {
                    "trt_engine_cache_enable": True,
                    "trt_engine_cache_path": str(folder),
                    "trt_timing_cache_enable": True,
                    "trt_timing_cache_path": str(folder),
                }
            return [(name, options), PROVIDERS["cuda"], cpu]
        case "xnnpack":
            return [(name, {"intra_op_num_threads": plan.threads}), cpu]
        case "cpu":
            return [cpu]
        case _:
            return [name, cpu]


def _refusal(model: Path, error: Exception) -> BackendError:
    return BackendError(
        f"ONNX Runtime refuses {model}: {_first_line(error)}: "
        "set engine.backend or engine.precision to another one, or export the model again"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
