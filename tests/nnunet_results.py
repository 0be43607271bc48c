"""A results folder of nnU-Net v2, as nnU-Net writes it, with a network that was trained for a moment on drawn pictures.

Bright bars are a scratch, dark squares a hole. Both forms that plans.json has had.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from edge.frame import Image

LABELS = {"background": 0, "scratch": 1, "hole": 2}
PATCH = 64
FEATURES, STAGES = 8, 3
STRIDES = [[1, 1], [2, 2], [2, 2]]
OLDER = {
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": FEATURES,
    "unet_max_num_features": 16,
    "n_conv_per_stage_encoder": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "num_pool_per_axis": [2, 2],
    "pool_op_kernel_sizes": STRIDES,
    "conv_kernel_sizes": [[3, 3]] * STAGES,
}
NEWER: dict[str, Any] = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": STAGES,
        "features_per_stage": [8, 16, 16],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * STAGES,
        "strides": STRIDES,
        "n_conv_per_stage": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}


def plans(*, older: bool = False, channels: int = 1, scheme: str = "ZScoreNormalization", **changed: Any) -> Any:
    """plans.json; `changed` is put into the configuration `2d`."""
    configuration: dict[str, Any] = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [PATCH, PATCH],
        "median_image_size_in_voxels": [120.0, 200.0],
        "spacing": [1.0, 1.0],
        "normalization_schemes": [scheme] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        **(OLDER if older else {"architecture": NEWER}),
        "batch_dice": True,
        **changed,
    }
    intensities = {"max": 255.0, "mean": 120.0, "median": 120.0, "min": 0.0, "std": 40.0}
    intensities |= {"percentile_00_5": 10.0, "percentile_99_5": 240.0}
    return {
        "dataset_name": "Dataset042_Parts",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [999.0, 1.0, 1.0],
        "original_median_shape_after_transp": [1, 120, 200],
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"2d": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(number): intensities for number in range(channels)},
    }


def write_results(folder: Path, *, folds: tuple[str, ...] = ("0",), channels: int = 1, **changed: Any) -> Path:
    """RESULTS, with one and the same training in every fold but for its head, which a further fold has turned down."""
    folder.mkdir(parents=True)
    found = plans(channels=channels, **changed)
    names = ["grey"] if channels == 1 else ["R", "G", "B"]
    dataset = {
        "channel_names": {str(number): name for number, name in enumerate(names)},
        "labels": LABELS,
        "numTraining": 8,
        "file_ending": ".png",
    }
    (folder / "plans.json").write_text(json.dumps(found))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for number, name in enumerate(folds):
        weights = {key: value.clone() for key, value in trained(channels).items()}
        if number:
            weights["decoder.seg_layers.1.weight"] *= 0.5
        (folder / f"fold_{name}").mkdir()
        torch.save(checkpoint(weights, found, dataset), folder / f"fold_{name}/checkpoint_final.pth")
    return folder


def checkpoint(weights: Any, found: Any, dataset: Any) -> dict[str, Any]:
    """What nnUNetTrainer.save_checkpoint writes."""
    return {
        "network_weights": weights,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "momentum": 0.99, "params": [0]}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.1)], "lrs": [0.01]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 5,
        "init_args": {
            "plans": found,
            "configuration": "2d",
            "fold": 0,
            "dataset_json": dataset,
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer_5epochs",
        "inference_allowed_mirroring_axes": (0, 1),
    }


def picture(
    rng: np.random.Generator, height: int = PATCH, width: int = PATCH, *, scale: float = 1
) -> tuple[Image, Image]:
    """(height, width) uint8 of a grey part with a bright bar or a dark square, and the label of each pixel."""
    image = np.clip(rng.normal(rng.uniform(90, 160), 4, (height, width)), 0, 255).astype(np.uint8)
    truth = np.zeros_like(image)
    label = int(rng.integers(3))
    if label:
        tall, wide = (np.array([(5, 34), (16, 16)][label - 1]) * scale).astype(int)
        top, left = int(rng.integers(1, height - tall)), int(rng.integers(1, width - wide))
        image[top : top + tall, left : left + wide] = (250, 5)[label - 1]
        truth[top : top + tall, left : left + wide] = label
    return image, truth


def with_layers(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a network, with classes in place of their names."""
    layers = {"conv_op": torch.nn.Conv2d, "norm_op": torch.nn.InstanceNorm2d, "nonlin": torch.nn.LeakyReLU}
    return arguments | layers


@cache
def trained(channels: int) -> dict[str, torch.Tensor]:
    """Weights of a network that has learnt the pictures above, in a few seconds of one core."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    network = PlainConvUNet(channels, num_classes=3, deep_supervision=False, **with_layers(NEWER["arch_kwargs"]))
    network.apply(network.initialize)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    rng = np.random.default_rng(1)
    for _ in range(80):
        pairs = [picture(rng) for _ in range(8)]
        x = torch.from_numpy(np.stack([image for image, _ in pairs])[:, None].repeat(channels, 1).astype(np.float32))
        mean, deviation = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True, unbiased=False)
        truth = torch.from_numpy(np.stack([truth for _, truth in pairs])).long()
        logits = network((x - mean) / deviation)
        loss = torch.nn.functional.cross_entropy(logits, truth, weight=torch.tensor([1.0, 2.0, 2.0]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return dict(network.state_dict())
