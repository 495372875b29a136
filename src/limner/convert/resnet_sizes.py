"""The sizes of a residual network, from the shapes of its weights."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import ValidationError
from torch import Tensor

from limner.errors import CheckpointError
from limner.models.resnet import ResNetConfig

Find = Callable[[str], Tensor | None]
"""Gives the tensor of one of our keys, or None when the file has none."""

_STEMS: Final = {7: "imagenet", 3: "cifar"}
_FOREIGN: Final = {
    r"conv1\.0\.weight": "its stem is three 3×3 convolutions (ResNet-C, -D, -T)",
    r"layer\d+\.\d+\.(se|eca|attn|cbam)\b.*": "its blocks weigh their channels (SE, ECA)",
    r"layer\d+\.\d+\.(scale|conv\d\.gain)": "its blocks or weights are rescaled",
    r"layer\d+\.0\.downsample\.2\.weight": "its shortcuts pool before they project (ResNet-D)",
}


def refuse_relatives(keys: Iterable[str], origin: str) -> None:
    """Say what a network is that looks like a ResNet and is not one.

    Args:
        keys: of the file.
        origin: file name, for the message.
    Raises: CheckpointError with the reason.
    """
    for key in keys:
        for pattern, reason in _FOREIGN.items():
            if re.fullmatch(pattern, key):
                raise CheckpointError(
                    f"{origin} is a relative of ResNet that limner does not build: {reason}; {key}",
                    wanted="a ResNet, a wide ResNet or a ResNeXt",
                )


def config_from(find: Find, origin: str, **flags: Any) -> ResNetConfig:
    """Read the sizes that shapes tell.

    Args:
        find: gives a tensor by our key.
        origin: file name, for the message.
        flags: fields that are known otherwise, such as `stride_on`.
    Raises: CheckpointError when the shapes are of no residual network limner has.
    """
    try:
        return ResNetConfig.model_validate(_sizes(find, origin) | flags)
    except ValidationError as error:
        raise CheckpointError(
            f"{origin}: {error.errors()[0]['msg']}", wanted="the shapes of a residual network"
        ) from error


def _sizes(find: Find, origin: str) -> dict[str, Any]:
    stem = find("conv1.weight")
    if stem is None or stem.ndim != 4 or stem.shape[1] != 3 or stem.shape[-1] not in _STEMS:
        raise CheckpointError(
            f"{origin}: the first convolution is {'absent' if stem is None else tuple(stem.shape)}",
            wanted="one of 7×7 or 3×3 that reads three channels",
        )
    depths: list[int] = []
    while depth := _count(find, f"layer{len(depths) + 1}"):
        depths.append(depth)
    bottleneck = find("layer1.0.conv3.weight") is not None
    last = [find(f"layer{n}.0.conv{3 if bottleneck else 2}.weight") for n in range(1, len(depths) + 1)]
    widths = [len(tensor) // (4 if bottleneck else 1) for tensor in last if tensor is not None]
    if not widths or len(widths) != len(depths) or widths[0] != len(stem):
        raise CheckpointError(
            f"{origin}: a stem of {len(stem)} channels and stages of {widths}",
            wanted="a first stage as wide inside as the stem",
        )
    head = find("fc.weight")
    return {
        "block": "bottleneck" if bottleneck else "basic",
        "depths": depths,
        "widths": widths,
        "num_classes": 0 if head is None else len(head),
        "stem": _STEMS[stem.shape[-1]],
        "shortcut": _shortcut(find, depths, bottleneck),
        **(_grouping(find("layer1.0.conv2.weight"), widths[0]) if bottleneck else {}),
    }


def _count(find: Find, stage: str) -> int:
    depth = 0
    while find(f"{stage}.{depth}.conv1.weight") is not None:
        depth += 1
    return depth


def _shortcut(find: Find, depths: list[int], bottleneck: bool) -> str:
    """ "A" stands for a plain network too: neither has weights on its shortcuts."""
    blocks = [f"layer{n}.{i}" for n, depth in enumerate(depths, 1) for i in range(depth)]
    projected = [block for block in blocks if find(f"{block}.downsample.0.weight") is not None]
    if not projected:
        return "A" if bottleneck or len(depths) > 1 else "B"
    more_than_needed = max(depths) > 1 or not bottleneck
    return "C" if len(projected) == len(blocks) and more_than_needed else "B"


def _grouping(inner: Tensor | None, width: int) -> dict[str, int]:
    if inner is None or inner.ndim != 4 or not inner.shape[1]:
        return {}
    groups = max(len(inner) // inner.shape[1], 1)
    return {"groups": groups, "base_width": max(64 * len(inner) // (groups * width), 1)}
