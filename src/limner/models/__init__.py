"""All models limner can build, by canonical name."""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from limner.config import Config
from limner.errors import ConfigError
from limner.models.bert import Bert, BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.resnet import ResNet, ResNetConfig
from limner.models.vit import ViT, ViTConfig
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec


class ModelEntry(NamedTuple):
    """One line of `MODELS`.

    Args:
        config: sizes.
        build: makes the module, with fresh weights.
        image_spec: how pictures are prepared for it.
        paper: where the sizes are from.
    """

    config: Config
    build: Callable[[Any], nn.Module]
    image_spec: ImageSpec
    paper: str


_RESNET_IMAGES = ImageSpec(
    size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear", crop="center", crop_fraction=0.875
)
_VIT_IMAGES = ImageSpec(size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop="center", crop_fraction=0.9)
_RESNET_PAPER = "He et al. 2015, Table 1"
_VIT_PAPER = "Dosovitskiy et al. 2020, Table 1"
_AUGREG_PAPER = "Steiner et al. 2021, Table 2"


def _resnet(block: str, *depths: int) -> ModelEntry:
    config = ResNetConfig.model_validate({"block": block, "depths": depths})
    return ModelEntry(config, ResNet, _RESNET_IMAGES, _RESNET_PAPER)


def _vit(patch_size: int, width: int, depth: int, num_heads: int, paper: str = _VIT_PAPER) -> ModelEntry:
    config = ViTConfig(
        image_size=224,
        patch_size=patch_size,
        width=width,
        depth=depth,
        num_heads=num_heads,
        mlp_dim=4 * width,
        num_classes=1000,
    )
    return ModelEntry(config, ViT, _VIT_IMAGES, paper)


_BLIP_BASE = BLIPConfig(
    vision=ViTConfig(image_size=224, patch_size=16, width=768, depth=12, num_heads=12, mlp_dim=3072),
    text=BertConfig(vocab_size=30524, width=768, depth=12, num_heads=12, mlp_dim=3072, memory_width=768),
)
_LIMNER_TINY = BLIPConfig(
    vision=ViTConfig(
        image_size=64,
        patch_size=16,
        width=192,
        depth=2,
        num_heads=6,
        mlp_dim=768,
        stem=(32, 64, 128, 256),
        init_std=0.04,
    ),
    text=BertConfig(
        vocab_size=1500,
        width=160,
        depth=3,
        num_heads=5,
        mlp_dim=640,
        max_positions=64,
        memory_width=192,
        dropout=0.0,
        init_std=0.04,
    ),
    embed_dim=96,
    pad_id=0,
    cls_id=2,
    sep_id=3,
    dec_id=5,
    enc_id=6,
)

MODELS: dict[str, ModelEntry] = {
    "resnet18": _resnet("basic", 2, 2, 2, 2),
    "resnet34": _resnet("basic", 3, 4, 6, 3),
    "resnet50": _resnet("bottleneck", 3, 4, 6, 3),
    "resnet101": _resnet("bottleneck", 3, 4, 23, 3),
    "resnet152": _resnet("bottleneck", 3, 8, 36, 3),
    "vit_ti16": _vit(16, 192, 12, 3, _AUGREG_PAPER),
    "vit_s16": _vit(16, 384, 12, 6, _AUGREG_PAPER),
    "vit_b16": _vit(16, 768, 12, 12),
    "vit_b32": _vit(32, 768, 12, 12),
    "vit_l16": _vit(16, 1024, 24, 16),
    "blip_base": ModelEntry(_BLIP_BASE, BLIP, ImageSpec(size=224), "Li et al. 2022, section 4.1"),
    "limner_tiny": ModelEntry(
        _LIMNER_TINY, BLIP, ImageSpec(size=64), "limner's own: a BLIP for two CPU cores"
    ),
}

_MODULES: dict[type[Config], Callable[[Any], nn.Module]] = {
    ResNetConfig: ResNet,
    ViTConfig: ViT,
    BertConfig: Bert,
    BLIPConfig: BLIP,
}


def entry(name: str) -> ModelEntry:
    """Return the line of `MODELS` for a name.

    Raises: ConfigError that names the nearest models when there is none.
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=3) or list(MODELS)
        raise ConfigError(f"no model {name!r}", wanted=f"one of {', '.join(MODELS)}", hint=" or ".join(close))
    return MODELS[name]


def build(name_or_config: str | Config) -> nn.Module:
    """Make a model with fresh weights.

    Args:
        name_or_config: a name in `MODELS`, or the config of a model.
    Raises: ConfigError when the name is unknown or the config is no model's.
    """
    if isinstance(name_or_config, str):
        found = entry(name_or_config)
        return found.build(found.config)
    if type(name_or_config) not in _MODULES:
        raise ConfigError(
            f"{type(name_or_config).__name__} is no model's config",
            wanted=" or ".join(kind.__name__ for kind in _MODULES),
        )
    return _MODULES[type(name_or_config)](name_or_config)
