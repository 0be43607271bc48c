"""Model files as elsewhere makes them: the networks small, the form and the metadata the exporters' own."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

SIZE = 32
LABELS = ("ok", "划痕", "deep dent")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Small(nn.Module):  # type: ignore[misc]  # torch is unchecked
    """A classifier that looks at colours, edges and places: swapped channels or sides give other scores."""

    def __init__(self, labels: int = len(LABELS), *, softmax: bool = False, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(5)
        first = nn.Conv2d(channels, 8, 3, 2, 1, bias=False)
        self.body = nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(12 * 4, labels)
        with torch.no_grad():
            self.head.weight.mul_(25)
        self.softmax = softmax
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(nn.functional.avg_pool2d(self.body(x), SIZE // 8).flatten(1))
        return y.softmax(1) if self.softmax else y


def export(network: nn.Module, path: Path, *, channels: int = 3, size: int = SIZE, **options: Any) -> Path:
    """By torch's older exporter, which Ultralytics and Geti use."""
    example = torch.zeros(1, channels, size, size)
    torch.onnx.export(network, (example,), str(path), dynamo=False, **({"opset_version": 18} | options))
    return path


def with_metadata(path: Path, metadata: dict[str, str]) -> Path:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def ultralytics(path: Path, *, task: str = "classify", **options: Any) -> Path:
    """As `yolo export format=onnx` of 8.4 writes it."""
    export(Small(softmax=True), path, input_names=["images"], output_names=["output0"], **options)
    metadata = {
        "description": "Ultralytics YOLO11n-cls model trained on tiles",
        "author": "Ultralytics",
        "version": "8.4.190",
        "stride": "1",
        "task": task,
        "batch": "1",
        "imgsz": str([SIZE, SIZE]),
        "names": str(dict(enumerate(LABELS))),
        "args": "{'batch': 1, 'half': False}",
        "channels": "3",
        "end2end": "False",
    }
    return with_metadata(path, metadata)


def model_info(**more: str) -> dict[str, str]:
    """As Model API reads it: values 0 to 255, labels with `_`."""
    return {
        "model_type": "Classification",
        "labels": " ".join(label.replace(" ", "_") for label in LABELS),
        "mean_values": " ".join(str(255 * value) for value in MEAN),
        "scale_values": " ".join(str(255 * value) for value in STD),
        "reverse_input_channels": "True",
        "resize_type": "standard",
        "pad_value": "0",
        **more,
    }


def geti_info() -> dict[str, str]:
    """What Geti adds; it gives its models RGB itself."""
    return model_info(
        task_type="classification",
        label_info='{"label_names": ["ok", "划痕", "deep dent"], "label_groups": [["ok", "划痕", "deep dent"]]}',
        multilabel="False",
        hierarchical="False",
        reverse_input_channels="False",
        optimization_config="{}",
    )


def with_model_info(path: Path, info: dict[str, str]) -> Path:
    return with_metadata(path, {f"model_info {key}": value for key, value in info.items()})


def intermediate(source: Path, path: Path, info: dict[str, str]) -> Path:
    """OpenVINO's own form, as Geti and Model API save it."""
    import openvino as ov

    model = ov.convert_model(source)
    for key, value in info.items():
        model.set_rt_info(value, ["model_info", key])
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def photograph(clip: Path, path: Path, number: int = 40, size: int = SIZE) -> Path:
    """A frame of the clip in bright colours, at the model's size, so that nothing is resized."""
    capture = cv2.VideoCapture(str(clip))
    for _ in range(number):
        frame = np.asarray(capture.read()[1])
    tinted = cv2.cvtColor(frame, cv2.COLOR_BGR2HSV)
    tinted[..., 0], tinted[..., 1] = np.linspace(0, 170, frame.shape[1]).astype(np.uint8), 150
    small = cv2.resize(cv2.cvtColor(tinted, cv2.COLOR_HSV2BGR), (size, size), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), small)
    return path


def expected(
    network: nn.Module, picture: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """What the framework itself says: PIL, RGB, ToTensor, Normalize, softmax, in PyTorch."""
    from PIL import Image

    rgb = np.asarray(Image.open(picture).convert("RGB"), np.float32) / 255
    normal = (rgb - np.array(mean, np.float32)) / np.array(std, np.float32)
    with torch.no_grad():
        raw = network(torch.from_numpy(normal.transpose(2, 0, 1)[None].copy()))
    scores: npt.NDArray[np.float32] = (raw if getattr(network, "softmax", False) else raw.softmax(1))[0].numpy()
    return scores
