from typing import Any

import pytest
import torch
from torch import Tensor

from limner.convert.resnet_sizes import config_from, refuse_relatives
from limner.errors import CheckpointError
from limner.models.resnet import ResNet, ResNetConfig


def state(**sizes: Any) -> tuple[ResNetConfig, dict[str, Tensor]]:
    config = ResNetConfig.model_validate({"block": "basic", "num_classes": 3, **sizes})
    with torch.device("meta"):
        return config, ResNet(config).state_dict()


@pytest.mark.parametrize(
    "sizes",
    [
        {"depths": (1,), "widths": (8,)},
        {"depths": (1, 3), "widths": (8, 24), "stem": "cifar", "shortcut": "A"},
        {"depths": (1, 1), "widths": (8, 8), "shortcut": "C", "num_classes": 0},
        {"depths": (2, 1), "widths": (64, 64), "block": "bottleneck", "shortcut": "C"},
        {"depths": (1, 1), "widths": (64, 96), "block": "bottleneck"},
        {"depths": (1, 1), "widths": (32, 64), "block": "bottleneck", "groups": 8, "base_width": 16},
    ],
)
def test_shapes_tell_the_sizes(sizes: dict[str, Any]) -> None:
    config, tensors = state(**sizes)
    assert config_from(tensors.get, "file") == config


def test_flags_that_shapes_do_not_tell_are_given() -> None:
    _, tensors = state(block="bottleneck", depths=(1,), widths=(8,))
    assert config_from(tensors.get, "file", stride_on="1x1").stride_on == "1x1"


@pytest.mark.parametrize(
    ("key", "shape", "word"),
    [
        ("conv1.weight", (8, 1, 7, 7), "first convolution"),
        ("conv1.weight", (8, 3, 5, 5), "first convolution"),
        ("conv1.weight", (9, 3, 7, 7), "stem of 9"),
        ("layer1.0.conv1.weight", None, "stages of"),
    ],
)
def test_other_shapes_are_refused(key: str, shape: tuple[int, ...] | None, word: str) -> None:
    _, tensors = state(depths=(1,), widths=(8,))
    del tensors[key]
    if shape:
        tensors[key] = torch.empty(shape, device="meta")
    with pytest.raises(CheckpointError, match=word):
        config_from(tensors.get, "weights.pth")


@pytest.mark.parametrize(
    "key",
    ["conv1.0.weight", "layer1.0.se.fc1.weight", "layer2.0.downsample.2.weight", "layer1.1.eca.conv.weight"],
)
def test_relatives_are_named(key: str) -> None:
    with pytest.raises(CheckpointError, match="relative of ResNet"):
        refuse_relatives([key], "file")


def test_plain_networks_have_no_relatives() -> None:
    _, tensors = state(depths=(1, 1), widths=(8, 16))
    refuse_relatives(tensors, "file")
