"""OpenVINO through its C API, by ctypes: any Python drives any release from 2022.3 on.

The interface is the "C API 2.0" of `openvino/c/openvino.h`. Its enumeration of element types was renumbered between
releases, so no number of it stands here: a tensor is made with the number that the model's own port gives, and checked
by its size.
"""

import ctypes as c
from typing import Any

from edge.ncs2.protocol import Reason

_Handle = c.c_void_p
_Out = c.POINTER(c.c_void_p)


class _Version(c.Structure):
    _fields_ = [("build", c.c_char_p), ("description", c.c_char_p)]


class _Versions(c.Structure):
    _fields_ = [("versions", c.c_void_p), ("size", c.c_size_t)]


class _Devices(c.Structure):
    _fields_ = [("names", c.POINTER(c.c_char_p)), ("size", c.c_size_t)]


class _Shape(c.Structure):
    _fields_ = [("rank", c.c_int64), ("dims", c.POINTER(c.c_int64))]

    def tuple(self) -> tuple[int, ...]:
        return tuple(int(self.dims[i]) for i in range(self.rank))


_FUNCTIONS: dict[str, list[Any]] = {
    "ov_get_openvino_version": [c.POINTER(_Version)],
    "ov_core_create": [_Out],
    "ov_core_free": [_Handle],
    "ov_core_get_versions_by_device_name": [_Handle, c.c_char_p, c.POINTER(_Versions)],
    "ov_core_get_available_devices": [_Handle, c.POINTER(_Devices)],
    "ov_core_read_model": [_Handle, c.c_char_p, c.c_char_p, _Out],
    "ov_core_compile_model": [_Handle, _Handle, c.c_char_p, c.c_size_t, _Out],
    "ov_model_free": [_Handle],
    "ov_compiled_model_input": [_Handle, _Out],
    "ov_compiled_model_output": [_Handle, _Out],
    "ov_compiled_model_create_infer_request": [_Handle, _Out],
    "ov_compiled_model_free": [_Handle],
    "ov_const_port_get_shape": [_Handle, c.POINTER(_Shape)],
    "ov_port_get_element_type": [_Handle, c.POINTER(c.c_int)],
    "ov_tensor_create_from_host_ptr": [c.c_int, _Shape, c.c_void_p, _Out],
    "ov_tensor_get_byte_size": [_Handle, c.POINTER(c.c_size_t)],
    "ov_tensor_data": [_Handle, _Out],
    "ov_tensor_free": [_Handle],
    "ov_infer_request_set_input_tensor": [_Handle, _Handle],
    "ov_infer_request_infer": [_Handle],
    "ov_infer_request_get_output_tensor": [_Handle, _Out],
    "ov_infer_request_free": [_Handle],
}
"""What is called, with the types of its arguments. Each gives a status, 0 is good; what frees gives nothing."""


class OpenVinoError(Exception):
    """OpenVINO cannot do it; the text is its own, on one line, and may be empty."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class OpenVino:
    """The library.

    Args:
        path: of libopenvino_c.so.

    Raises:
        OpenVinoError: it cannot be loaded, or is too old.
    """

    def __init__(self, path: str) -> None:
        try:
            self._library = c.CDLL(path)
        except OSError as error:
            raise OpenVinoError(Reason.LIBRARY, str(error)) from error
        for name, arguments in _FUNCTIONS.items():
            try:
                getattr(self._library, name).argtypes = arguments
            except AttributeError as error:
                raise OpenVinoError(Reason.TOO_OLD, name) from error
        version = _Version()
        self.call(Reason.LIBRARY, "ov_get_openvino_version", c.byref(version))
        self.version: str = (version.build or b"?").decode("utf-8", "replace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def call(self, reason: Reason, function: str, *arguments: Any) -> None:
        """Call a function that gives a status.

        Raises:
            OpenVinoError: the status is not good; with `reason`.
        """
        status = getattr(self._library, function)(*arguments)
        if status:
            raise OpenVinoError(reason, self._last_error(status))

    def new(self, reason: Reason, function: str, *arguments: Any) -> c.c_void_p:
        """Call a function whose last argument takes the handle that it makes.

        Raises:
            OpenVinoError: as `call`.
        """
        handle = c.c_void_p()
        self.call(reason, function, *arguments, c.byref(handle))
        return handle

    def _last_error(self, status: int) -> str:
        """Its last line says what is wrong; those before say where in OpenVINO's sources."""
        # 2022.3 knows the name of the status alone; the text came later.
        for function, arguments in (("ov_get_last_err_msg", ()), ("ov_get_error_info", (status,))):
            if hasattr(self._library, function):
                get = getattr(self._library, function)
                get.restype = c.c_char_p
                lines = (get(*arguments) or b"").decode("utf-8", "replace").split("\n")
                if last := [line.strip() for line in lines if line.strip()][-1:]:
                    return last[0]
        return ""


class Model:
    """A model on a device, which reads an image of ours and writes scores of ours.

    Args:
        openvino: the library.
        path: of the model.
        device: OpenVINO's name of it.
        image: address of the input.
        image_bytes: its size.

    Attributes:
        shape: of the input.
        labels: how many scores there are.

    Raises:
        OpenVinoError: the device is not there, or the model does not fit.
    """

    def __init__(self, openvino: OpenVino, path: str, device: str, image: int, image_bytes: int) -> None:
        self._ov = openvino
        self._core = openvino.new(Reason.LIBRARY, "ov_core_create")
        model = openvino.new(Reason.MODEL, "ov_core_read_model", self._core, path.encode(), None)
        try:
            self._compiled = openvino.new(Reason.MODEL, "ov_core_compile_model", self._core, model, device.encode(), 0)
        except OpenVinoError as error:
            raise OpenVinoError(self._why_not(device), str(error)) from error
        openvino.ov_model_free(model)
        self._request = openvino.new(Reason.MODEL, "ov_compiled_model_create_infer_request", self._compiled)
        self.shape, element = self._port("ov_compiled_model_input")
        scores, _ = self._port("ov_compiled_model_output")
        self.labels = _product(scores)
        dims = (c.c_int64 * len(self.shape))(*self.shape)
        tensor = openvino.new(
            Reason.MODEL, "ov_tensor_create_from_host_ptr", element, _Shape(len(self.shape), dims), image
        )
        if (size := self._bytes(tensor)) != image_bytes:
            raise OpenVinoError(Reason.MODEL, f"its input is {self.shape}, {size} bytes, but {image_bytes} are given")
        openvino.call(Reason.MODEL, "ov_infer_request_set_input_tensor", self._request, tensor)

    def run(self, scores: int) -> None:
        """Run it once.

        Args:
            scores: the address to which `labels` float32 are written.

        Raises:
            OpenVinoError: it failed, or what it gives is not float32.
        """
        self._ov.call(Reason.RUNNING, "ov_infer_request_infer", self._request)
        tensor = self._ov.new(Reason.RUNNING, "ov_infer_request_get_output_tensor", self._request)
        try:
            if self._bytes(tensor) != 4 * self.labels:
                raise OpenVinoError(Reason.MODEL, "its output is not float32")
            data = self._ov.new(Reason.RUNNING, "ov_tensor_data", tensor)
            c.memmove(scores, data, 4 * self.labels)
        finally:
            self._ov.ov_tensor_free(tensor)

    def close(self) -> None:
        """Give the device back."""
        self._ov.ov_infer_request_free(self._request)
        self._ov.ov_compiled_model_free(self._compiled)
        self._ov.ov_core_free(self._core)

    def _port(self, function: str) -> tuple[tuple[int, ...], c.c_int]:
        """Shape and element type of the only input or output."""
        port = self._ov.new(Reason.MODEL, function, self._compiled)
        shape, element = _Shape(), c.c_int()
        self._ov.call(Reason.MODEL, "ov_const_port_get_shape", port, c.byref(shape))
        self._ov.call(Reason.MODEL, "ov_port_get_element_type", port, c.byref(element))
        return shape.tuple(), element

    def _bytes(self, tensor: c.c_void_p) -> int:
        size = c.c_size_t()
        self._ov.call(Reason.MODEL, "ov_tensor_get_byte_size", tensor, c.byref(size))
        return size.value

    def _why_not(self, device: str) -> Reason:
        """What a model that was not compiled lacked. Asked of the state, for 2022.3 has no text to tell it from."""
        try:
            self._ov.call(
                Reason.NO_PLUGIN,
                "ov_core_get_versions_by_device_name",
                self._core,
                device.encode(),
                c.byref(_Versions()),
            )
            devices = _Devices()
            self._ov.call(Reason.NO_DEVICE, "ov_core_get_available_devices", self._core, c.byref(devices))
        except OpenVinoError as error:
            return error.reason
        names = {devices.names[i].decode().split(".")[0] for i in range(devices.size)}
        return Reason.MODEL if device in names else Reason.NO_DEVICE


def _product(dims: tuple[int, ...]) -> int:
    product = 1
    for dim in dims:
        product *= dim
    return product
