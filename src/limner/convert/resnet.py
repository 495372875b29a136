"""Residual networks in the words of torchvision, timm, transformers and akamaster/pytorch_resnet_cifar10.

torchvision's keys are ours; timm's are torchvision's, and only the JSON beside the file tells them apart.
Sizes come from shapes, so a network of any depth opens. Shapes do not say which convolution of a bottleneck
has the stride: torchvision and timm have it on the 3×3, transformers says so in its JSON.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import torch

from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import KeyMap, same
from limner.convert.labels import CIFAR_10, IMAGENET_1K, labels_from
from limner.convert.preprocessing import CIFAR, TORCHVISION_V1, TORCHVISION_V2, from_hf, from_timm
from limner.convert.resnet_sizes import config_from, refuse_relatives
from limner.convert.resnet_writing import (
    check_hf,
    check_timm,
    check_torchvision,
    companions_hf,
    companions_timm,
    companions_torchvision,
)
from limner.errors import CheckpointError
from limner.models.resnet import ResNet, ResNetConfig
from limner.shapes import ImageSpec


class Published(NamedTuple):
    """A file of torchvision: what it holds, and what torchvision says it scores on ImageNet, percent."""

    name: str
    top1: float
    image_spec: ImageSpec = TORCHVISION_V1


PUBLISHED: Final[dict[str, Published]] = {
    "f37072fd": Published("resnet18", 69.758),
    "5c106cde": Published("resnet18", 69.758),
    "b627a593": Published("resnet34", 73.314),
    "333f7ec4": Published("resnet34", 73.314),
    "0676ba61": Published("resnet50", 76.130),
    "19c8e357": Published("resnet50", 76.130),
    "11ad3fa6": Published("resnet50", 80.858, TORCHVISION_V2),
    "63fe2227": Published("resnet101", 77.374),
    "5d3b4d8f": Published("resnet101", 77.374),
    "cd907fc2": Published("resnet101", 81.886, TORCHVISION_V2),
    "394f9c45": Published("resnet152", 78.312),
    "b121ed2d": Published("resnet152", 78.312),
    "f82ba261": Published("resnet152", 82.284, TORCHVISION_V2),
    "7cdf4587": Published("resnext50_32x4d", 77.618),
    "1a0047aa": Published("resnext50_32x4d", 81.198, TORCHVISION_V2),
    "8ba56ff5": Published("resnext101_32x8d", 79.312),
    "110c445d": Published("resnext101_32x8d", 82.834, TORCHVISION_V2),
    "173b62eb": Published("resnext101_64x4d", 83.246, TORCHVISION_V2),
    "95faca4d": Published("wide_resnet50_2", 78.468),
    "9ba9bcbe": Published("wide_resnet50_2", 81.602, TORCHVISION_V2),
    "32ee1156": Published("wide_resnet101_2", 78.848),
    "d733dc28": Published("wide_resnet101_2", 82.510, TORCHVISION_V2),
}
"""By the first eight digits of the file's SHA-256, which its name ends with."""

_STRIDE_NOTE: Final = (
    "The stride of a stage is taken to be on its 3×3 convolution, as in torchvision and timm; shapes do not "
    'tell. He\'s own weights have it on the first 1×1: stride_on = "1x1".'
)
_PLAIN_NOTE: Final = (
    "The file holds no projections: shortcuts are taken to be option A; a plain network has the same shapes."
)
_CLASSES_NOTE: Final = "1000 outputs are taken to be the classes of ImageNet-1k, in its order."
_TIMM_PLAIN: Final = re.compile(r"resnet|(tv_)?resnet\d+|wide_resnet\d+_\d+|resnext\d+_\d+x\d+d")
_TIMM_ARGS: Final = {
    *("layers", "channels", "cardinality", "base_width", "num_classes", "in_chans"),
    *("drop_rate", "drop_path_rate", "zero_init_last", "global_pool"),
}
_RIVALS: Final = ("attnpool.", "linear.", "visual.", "text.", "conv2.")


def _same_key(key: str) -> str:
    return key


def _akamaster_key(key: str) -> str:
    return re.sub(r"^fc\.", "linear.", key.replace(".downsample.", ".shortcut."))


def _hf_key(key: str, prefix: str) -> str:
    """Our key in transformers' words; stages and layers count from 0, a norm sits beside its convolution."""
    if key.startswith("fc."):
        return f"classifier.1.{key.removeprefix('fc.')}"
    if not key.startswith("layer"):
        part, end = key.split(".")
        return f"{prefix}embedder.embedder.{'convolution' if part == 'conv1' else 'normalization'}.{end}"
    stage, block, part, end = key.removeprefix("layer").split(".", 3)
    where = f"{prefix}encoder.stages.{int(stage) - 1}.layers.{block}"
    if part == "downsample":
        index, end = end.split(".")
        return f"{where}.shortcut.{('convolution', 'normalization')[int(index)]}.{end}"
    kind = "convolution" if part.startswith("conv") else "normalization"
    return f"{where}.layer.{int(part[-1]) - 1}.{kind}.{end}"


def _keymap(config: ResNetConfig, theirs: Callable[[str], str] = _same_key) -> KeyMap:
    """Every key of the network; old files hold no `num_batches_tracked`."""
    with torch.device("meta"):
        keys = list(ResNet(config).state_dict())
    counts = {key: torch.tensor(0) for key in keys if key.endswith("num_batches_tracked")}
    return KeyMap(tuple(same(key, theirs(key)) for key in keys), fills=counts)


def _hf_keymap(config: ResNetConfig) -> KeyMap:
    """With a classifier, the network is a part of a bigger module there."""
    return _keymap(config, partial(_hf_key, prefix="resnet." if config.num_classes else ""))


def _sizes(weights: Weights, theirs: Callable[[str], str] = _same_key, **flags: Any) -> ResNetConfig:
    return config_from(lambda key: weights.tensors.get(theirs(key)), str(weights.path), **flags)


def _side(weights: Weights, name: str = "config.json") -> Mapping[str, Any]:
    side = weights.sides.get(name)
    return side if isinstance(side, Mapping) else {}


def _is_residual(weights: Weights) -> bool:
    keys = weights.tensors.keys()
    named = {"bn1.weight", "layer1.0.conv1.weight"} <= keys
    stem = bool({"conv1.weight", "conv1.0.weight"} & keys)
    rival = any(key.startswith(_RIVALS) for key in keys)
    return named and stem and not rival and "model_type" not in _side(weights)


def _of_timm(weights: Weights) -> bool:
    return bool({"architecture", "pretrained_cfg"} & _side(weights).keys())


def _is_torchvision(weights: Weights) -> bool:
    return _is_residual(weights) and not _of_timm(weights)


def _is_timm(weights: Weights) -> bool:
    return _is_residual(weights) and _of_timm(weights)


def _is_akamaster(weights: Weights) -> bool:
    wanted = {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "linear.weight"}
    return wanted <= weights.tensors.keys()


def _is_hf(weights: Weights) -> bool:
    stems = [weights.tensors.get(f"{start}embedder.embedder.convolution.weight") for start in ("resnet.", "")]
    large = any(stem is not None and stem.shape[-1] == 7 for stem in stems)  # RegNet has a 3×3 there
    return large and _side(weights).get("model_type", "resnet") == "resnet"


def _description(
    config: ResNetConfig, spec: ImageSpec, labels: tuple[str, ...], notes: list[str]
) -> Description:
    task = "classification" if config.num_classes else "features"
    return Description(config, spec, task, labels, notes=tuple(notes))


def _prepared(spec: ImageSpec) -> str:
    resized = spec.resize_px or spec.size
    return f"Pictures are taken to be resized to {resized} and cut to {spec.size}, {spec.resampling}."


def _describe_torchvision(weights: Weights) -> Description:
    refuse_relatives(weights.tensors, str(weights.path))
    config = _sizes(weights)
    labels = IMAGENET_1K if config.num_classes == len(IMAGENET_1K) else ()
    digits = re.findall(r"-([0-9a-f]{8})(?=\.|$)", weights.path.name)
    known = next((PUBLISHED[key] for key in (weights.sha256[:8], *digits) if key in PUBLISHED), None)
    if known is not None:
        told = f"This is torchvision's {known.name}, for which torchvision reports {known.top1:.3f} % top-1."
        return _description(config, known.image_spec, labels, [told])
    spec = CIFAR if config.stem == "cifar" else TORCHVISION_V1
    notes = {
        _prepared(spec): True,
        _CLASSES_NOTE: bool(labels),
        _STRIDE_NOTE: config.block == "bottleneck",
        _PLAIN_NOTE: config.shortcut == "A",
    }
    return _description(config, spec, labels, [note for note, said in notes.items() if said])


def _describe_timm(weights: Weights) -> Description:
    refuse_relatives(weights.tensors, str(weights.path))
    side, origin = _side(weights), str(weights.path.parent / "config.json")
    architecture, args = str(side.get("architecture", "resnet")), side.get("model_args") or {}
    if not _TIMM_PLAIN.fullmatch(architecture):
        raise CheckpointError(
            f"{origin}: {architecture} is not one of timm's plain residual networks",
            wanted="resnet*, wide_resnet* or resnext*; others may have the same keys and other layers",
        )
    if odd := sorted(set(args) - _TIMM_ARGS):
        raise CheckpointError(
            f"{origin}: model_args changes {', '.join(odd)}",
            wanted=f"none but {', '.join(sorted(_TIMM_ARGS))}",
        )
    config = _sizes(weights)
    labels, notes = labels_from(side, config.num_classes, origin), []
    if not labels and config.num_classes == len(IMAGENET_1K):
        labels, notes = IMAGENET_1K, [_CLASSES_NOTE]
    return _description(config, from_timm(side, origin), labels, notes)


def _describe_akamaster(weights: Weights) -> Description:
    config = _sizes(weights, _akamaster_key)
    labels = CIFAR_10 if config.num_classes == len(CIFAR_10) else ()
    notes = [f"Pictures are {CIFAR.size} px, normalised with the mean and std of ImageNet."]
    if config.shortcut == "A":
        notes.append(_PLAIN_NOTE)
    if isinstance(best := weights.facts.get("best_prec1"), (int, float)):
        notes.append(f"Its author reports {best:.2f} % on the test set of CIFAR-10.")
    return _description(config, CIFAR, labels, notes)


def _describe_hf(weights: Weights) -> Description:
    side, origin = _side(weights), str(weights.path.parent / "config.json")
    wanted = {"hidden_act": "relu", "downsample_in_first_stage": False, "num_channels": 3}
    for field, value in wanted.items():
        if side.get(field, value) != value:
            raise CheckpointError(f"{origin}: {field} is {side[field]!r}", wanted=f"{field}: {value!r}")
    prefix = "resnet." if any(key.startswith("resnet.") for key in weights.tensors) else ""
    theirs = partial(_hf_key, prefix=prefix)
    on_first = side.get("downsample_in_bottleneck") and theirs("layer1.0.conv3.weight") in weights.tensors
    config = _sizes(weights, theirs, **({"stride_on": "1x1"} if on_first else {}))
    if bool(config.num_classes) != bool(prefix):
        raise CheckpointError(
            f"{weights.path}: {config.num_classes} outputs, and keys that begin with {prefix}embedder",
            wanted="a ResNetForImageClassification with its classifier, or a ResNetModel",
        )
    notes = [] if side or config.block == "basic" else [_STRIDE_NOTE]
    processor, spec = _side(weights, "preprocessor_config.json"), TORCHVISION_V1
    if processor:
        spec = from_hf(processor, "resnet")
    else:
        notes.append(f"There is no preprocessor_config.json. {_prepared(spec)}")
    return _description(config, spec, labels_from(side, config.num_classes, origin), notes)


DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "torchvision",
        "resnet",
        _is_torchvision,
        _describe_torchvision,
        _keymap,
        companions_torchvision,
        check_torchvision,
    ),
    Dialect("timm", "resnet", _is_timm, _describe_timm, _keymap, companions_timm, check_timm),
    Dialect("hf", "resnet", _is_hf, _describe_hf, _hf_keymap, companions_hf, check_hf),
    Dialect(
        "akamaster", "resnet", _is_akamaster, _describe_akamaster, partial(_keymap, theirs=_akamaster_key)
    ),
)
