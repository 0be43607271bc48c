"""OpenVINO: one compiled model that all lines share, and for each an infer request on tensors that are ours."""

import threading
from pathlib import Path
from typing import Any

import numpy.typing as npt
import openvino as ov
from openvino import properties as props
from openvino.preprocess import ColorFormat, PrePostProcessor

from edge.backends import Output, Run
from edge.backends.plan import Device, Plan
from edge.errors import BackendError, EngineError
from edge.frame import Image
from edge.preprocess import InputSpec

DEVICES: dict[Device, str] = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
version: str = ov.__version__


def devices() -> tuple[Device, ...]:
    """The devices that are there and have a plug-in."""
    found = {name.split(".", 1)[0] for name in ov.Core().available_devices}
    return tuple(device for device, name in DEVICES.items() if name in found)


class OpenVinoBackend:
    """A compiled model. Any thread may run what `bind` gives, at the same time as others.

    Args:
        model: an ONNX file, or the .xml of OpenVINO's own format.
        spec: what the file takes; what it lacks is built into the graph.
        plan: how to run it; its device is one of `devices()`.
        cache_dir: where compiled models are kept; None: nowhere.

    Raises:
        BackendError: OpenVINO refuses the model, or the device cannot be used.
    """

    def __init__(self, model: Path, spec: InputSpec, plan: Plan, cache_dir: Path | None) -> None:
        self.plan = plan
        self._model, self._spec = model, spec
        self._compiling = threading.Lock()
        self._of_shape: dict[tuple[int, ...], ov.CompiledModel] = {}
        try:
            self._core = ov.Core()
            if cache_dir is not None:
                self._core.set_property({props.cache_dir: str(cache_dir / "openvino")})
            # A path is looked up in the cache before it is read.
            network = str(model) if spec.as_preprocessed else _completed(self._core.read_model(model), spec)
            self._compiled = self._core.compile_model(network, DEVICES[plan.device], _settings(plan))
            self.outputs = tuple(
                Output(
                    output.element_type.to_dtype().name,
                    tuple(side.get_length() if side.is_static else -1 for side in output.partial_shape),
                )
                for output in self._compiled.outputs
            )
        except Exception as error:  # OpenVINO raises bare RuntimeError and pybind's own kinds
            raise _refusal(model, error) from error

    def bind(self, image: Image, *outputs: npt.NDArray[Any]) -> Run:
        """See `Backend.bind`."""
        try:
            request = self._compiled_for(image.shape).create_infer_request()
            request.set_input_tensor(ov.Tensor(image, shared_memory=True))
            for number, array in enumerate(outputs):
                request.set_output_tensor(number, ov.Tensor(array, shared_memory=True))
        except Exception as error:
            raise _refusal(self._model, error) from error

        def run() -> None:
            try:
                # Asynchronous start and wait skip the result dictionary that the blocking call builds each time.
                request.start_async()
                request.wait()
            except Exception as error:
                raise EngineError(f"OpenVINO failed while running: {_last_line(error)}") from error

        return run

    def _compiled_for(self, shape: tuple[int, ...]) -> ov.CompiledModel:
        """A model that leaves sides open is compiled once more for each shape: it is quicker when all is known."""
        if self._compiled.input(0).partial_shape.is_static:
            return self._compiled
        with self._compiling:
            if shape not in self._of_shape:
                network = self._core.read_model(self._model)
                if not self._spec.as_preprocessed:
                    network = _completed(network, self._spec)
                network.reshape(ov.PartialShape(list(shape)))
                self._of_shape[shape] = self._core.compile_model(
                    network, DEVICES[self.plan.device], _settings(self.plan)
                )
            return self._of_shape[shape]

    def close(self) -> None:
        """The compiled model ends with its last user."""


def _completed(model: ov.Model, spec: InputSpec) -> ov.Model:
    """The model with what it lacks before its input: order of the channels, normalisation, layout."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout(spec.layout))
    if spec.colour == "RGB":
        steps.input().tensor().set_color_format(ColorFormat.BGR)
        steps.input().preprocess().convert_color(ColorFormat.RGB)
    if spec.dtype == "float32":
        first = steps.input().preprocess().convert_element_type(ov.Type.f32)
        first.mean([255 * value for value in spec.mean]).scale([255 * value for value in spec.std])
    return steps.build()


def _settings(plan: Plan) -> dict[Any, Any]:
    mode = props.hint.PerformanceMode
    settings = {
        props.hint.performance_mode: mode.THROUGHPUT if plan.hint == "throughput" else mode.LATENCY,
    }
    if plan.device == "cpu":
        settings |= {
            props.inference_num_threads: plan.threads * plan.streams,
            props.num_streams: plan.streams,
            props.hint.enable_cpu_pinning: plan.pinning,
            # On processors with BF16, "f32" models run in BF16 unless told otherwise.
            props.hint.inference_precision: ov.Type.f32,
        }
    elif plan.precision == "fp32":
        settings |= {props.hint.inference_precision: ov.Type.f32}
    return settings


def _refusal(model: Path, error: Exception) -> BackendError:
    return BackendError(
        f"OpenVINO refuses {model}: {_last_line(error)}: "
        "set engine.backend or engine.precision to another one, or export the model again"
    )


def _last_line(error: Exception) -> str:
    return str(error).strip().rsplit("\n", 1)[-1]
