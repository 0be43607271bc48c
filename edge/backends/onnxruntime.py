"""ONNX Runtime on the CPU: one session, one input and one output bound once."""

import os
from pathlib import Path

# ONNX Runtime's newer wheels send telemetry unless this is set before the first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edge.backends import BackendName
from edge.bundle import Precision
from edge.errors import BackendError
from edge.frame import Image
from edge.preprocess import InputSpec


class OnnxRuntimeBackend:
    """An ONNX Runtime session whose input and output are numpy arrays of ours (IOBinding, no copies)."""

    name: BackendName = "onnxruntime"

    def __init__(self, model: Path, precision: Precision, spec: InputSpec, threads: int) -> None:
        self.precision: Precision = precision
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads that spin would eat the cores that decode the video.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            self.input: Image = np.zeros(spec.shape, np.uint8)
            self.scores: npt.NDArray[np.float32] = np.zeros(outputs[0].shape, np.float32)
            self._binding = self._session.io_binding()
            # The OrtValues borrow the arrays' memory, so they and the arrays must live as long as the session.
            self._bound = [ort.OrtValue.ortvalue_from_numpy(array) for array in (self.input, self.scores)]
            self._binding.bind_ortvalue_input(inputs[0].name, self._bound[0])
            self._binding.bind_ortvalue_output(outputs[0].name, self._bound[1])
        except Exception as error:  # the runtime's exceptions have no common ancestor of their own
            raise BackendError(
                f"ONNX Runtime refuses {model}: {_first_line(error)}: "
                "set engine.backend or engine.precision to another one, or export the model again"
            ) from error

    def infer(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed while running: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
