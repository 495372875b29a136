"""What torchvision, timm and transformers need beside a residual network's weights, and cannot hold."""

from typing import Any

from limner.convert.dialect import Description
from limner.convert.labels import id2label
from limner.convert.preprocessing import to_hf, to_timm
from limner.errors import CheckpointError
from limner.models.resnet import ResNetConfig
from limner.models.resnet_variants import VARIANTS


def check_torchvision(config: ResNetConfig) -> None:
    """Raise CheckpointError when torchvision cannot build this network."""
    _demand(
        "torchvision", _odd_parts(config) + _odd_sizes(config) + ["no classifier"][: not config.num_classes]
    )


def check_timm(config: ResNetConfig) -> None:
    """Raise CheckpointError when timm cannot build this network."""
    _demand("timm", _odd_parts(config) + _odd_sizes(config))


def check_hf(config: ResNetConfig) -> None:
    """Raise CheckpointError when transformers cannot build this network."""
    grouped = (config.groups, config.base_width) != (1, 64)
    _demand("transformers", _odd_parts(config) + ["grouped or wider bottlenecks"][: int(grouped)])


def _demand(library: str, lacks: list[str]) -> None:
    if lacks:
        raise CheckpointError(
            f"{library} has no residual network with {' and '.join(lacks)}",
            wanted="sizes that library can build",
            hint="save it as a limner bundle, which holds any of them",
        )


def _odd_parts(config: ResNetConfig) -> list[str]:
    odd = {
        "a CIFAR stem": config.stem != "imagenet",
        f"shortcuts {config.shortcut}": config.shortcut != "B",
        "Caffe's pool": config.pool != "pad",
    }
    return [what for what, used in odd.items() if used]


def _odd_sizes(config: ResNetConfig) -> list[str]:
    odd = {
        f"widths {config.widths}": config.widths != (64, 128, 256, 512),
        "its stride on the 1×1": config.stride_on != "3x3",
    }
    return [what for what, used in odd.items() if used]


def companions_torchvision(config: ResNetConfig, description: Description) -> dict[str, Any]:
    """Return no file: torchvision keeps sizes and preparation in its code."""
    return {}


def companions_timm(config: ResNetConfig, description: Description) -> dict[str, Any]:
    """Return the config.json by which `timm.create_model("local-dir:FOLDER")` opens the weights."""
    name, args = _architecture(config)
    fields = {"num_classes": config.num_classes, "first_conv": "conv1", "classifier": "fc"}
    side: dict[str, Any] = {
        "architecture": name,
        "num_classes": config.num_classes,
        "num_features": config.widths[-1] * (4 if config.block == "bottleneck" else 1),
        "pretrained_cfg": to_timm(description.image_spec) | fields,
    }
    if description.labels:
        side["label_names"] = list(description.labels)
    return {"config.json": side | ({"model_args": args} if args else {})}


def _architecture(config: ResNetConfig) -> tuple[str, dict[str, Any]]:
    """timm's name of a network, and what to change of it."""
    free = config.model_dump(include={"num_classes", "drop_path", "zero_init_last"})
    for name, line in VARIANTS.items():
        if line.config.model_copy(update=free) == config:
            return name, {}
    args: dict[str, Any] = {"layers": list(config.depths)}
    if config.block == "basic":
        return "resnet18", args
    return "resnet50", args | {"cardinality": config.groups, "base_width": config.base_width}


def companions_hf(config: ResNetConfig, description: Description) -> dict[str, Any]:
    """Return the two JSON files by which transformers' `from_pretrained(FOLDER)` opens the weights."""
    fourfold = 4 if config.block == "bottleneck" else 1
    side = {
        "architectures": ["ResNetForImageClassification" if config.num_classes else "ResNetModel"],
        "model_type": "resnet",
        "num_channels": 3,
        "embedding_size": config.widths[0],
        "hidden_sizes": [fourfold * width for width in config.widths],
        "depths": list(config.depths),
        "layer_type": config.block,
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": config.stride_on == "1x1",
        **id2label(description.labels or [f"LABEL_{number}" for number in range(config.num_classes)]),
    }
    return {"config.json": side, "preprocessor_config.json": to_hf(description.image_spec)}
