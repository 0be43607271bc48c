"""OpenVINO on the CPU: one compiled model, one infer request on tensors that share our memory."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import properties as props

from edge.backends import BackendName
from edge.bundle import Precision
from edge.errors import BackendError
from edge.frame import Image
from edge.preprocess import InputSpec


class OpenVinoBackend:
    """An infer request whose input and output tensors are numpy arrays of ours."""

    name: BackendName = "openvino"

    def __init__(self, model: Path, precision: Precision, spec: InputSpec, threads: int) -> None:
        self.precision: Precision = precision
        settings = {
            props.hint.performance_mode: props.hint.PerformanceMode.LATENCY,
            props.inference_num_threads: threads,
            props.num_streams: 1,
            # On processors with BF16, "f32" models run in BF16 unless told otherwise.
            props.hint.inference_precision: ov.Type.f32,
        }
        try:
            compiled = ov.Core().compile_model(str(model), "CPU", settings)
            self.input: Image = np.zeros(spec.shape, np.uint8)
            self.scores: npt.NDArray[np.float32] = np.zeros(tuple(compiled.outputs[0].shape), np.float32)
            self._request = compiled.create_infer_request()
            self._request.set_input_tensor(ov.Tensor(self.input, shared_memory=True))
            self._request.set_output_tensor(ov.Tensor(self.scores, shared_memory=True))
        except Exception as error:  # OpenVINO raises bare RuntimeError and pybind's own kinds
            raise BackendError(
                f"OpenVINO refuses {model}: {_last_line(error)}: "
                "set engine.backend or engine.precision to another one, or export the model again"
            ) from error

    def infer(self) -> None:
        try:
            # Asynchronous start and wait skip the result dictionary that the blocking call builds each time.
            self._request.start_async()
            self._request.wait()
        except Exception as error:
            raise BackendError(f"OpenVINO failed while running: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    return str(error).strip().rsplit("\n", 1)[-1]
