"""All models limner can build, by canonical name; `limner.models("*b16*")` lists those that match."""

import difflib
import fnmatch
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from limner.config import Config
from limner.errors import ConfigError
from limner.models import (
    axial,
    bag_of_words,
    blip_variants,
    clip_variants,
    convirt,
    cordonnier,
    detector_variants,
    icmlm,
    local_attention,
    masked_patch,
    ngrams,
    resnet_variants,
    virtex,
    vit_variants,
)
from limner.models.axial import AxialResNet, AxialResNetConfig, AxialViT, AxialViTConfig
from limner.models.bag_of_words import BagOfWords, BagOfWordsConfig
from limner.models.bert import Bert, BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.blip_nlvr2 import BLIPNLVR2, BLIPNLVR2Config
from limner.models.blip_vqa import BLIPVQA, BLIPVQAConfig
from limner.models.clip import CLIP, CLIPConfig
from limner.models.convirt import ConVIRT, ConVIRTConfig
from limner.models.cordonnier import Cordonnier, CordonnierConfig
from limner.models.detector import Detector, DetectorConfig
from limner.models.entry import ModelEntry
from limner.models.icmlm import ICMLM, ICMLMConfig
from limner.models.local_attention import LocalAttentionConfig, LocalAttentionNet
from limner.models.masked_patch import MaskedPatch, MaskedPatchConfig
from limner.models.ngrams import NGrams, NGramsConfig
from limner.models.resnet import ResNet, ResNetConfig
from limner.models.virtex import VirTex, VirTexConfig
from limner.models.vit import ViT, ViTConfig

MODELS: dict[str, ModelEntry] = {
    **resnet_variants.VARIANTS,
    **vit_variants.VARIANTS,
    **masked_patch.VARIANTS,
    **local_attention.VARIANTS,
    **axial.VARIANTS,
    **cordonnier.VARIANTS,
    **bag_of_words.VARIANTS,
    **ngrams.VARIANTS,
    **virtex.VARIANTS,
    **icmlm.VARIANTS,
    **convirt.VARIANTS,
    **detector_variants.VARIANTS,
    **clip_variants.VARIANTS,
    **blip_variants.VARIANTS,
}


class Architecture(NamedTuple):
    """A kind of model: what its sizes are called, and what makes it."""

    config: type[Config]
    build: Callable[[Any], nn.Module]


ARCHITECTURES: dict[str, Architecture] = {
    "resnet": Architecture(ResNetConfig, ResNet),
    "vit": Architecture(ViTConfig, ViT),
    "masked_patch": Architecture(MaskedPatchConfig, MaskedPatch),
    "local_attention": Architecture(LocalAttentionConfig, LocalAttentionNet),
    "axial": Architecture(AxialResNetConfig, AxialResNet),
    "axial_vit": Architecture(AxialViTConfig, AxialViT),
    "cordonnier": Architecture(CordonnierConfig, Cordonnier),
    "bag_of_words": Architecture(BagOfWordsConfig, BagOfWords),
    "ngrams": Architecture(NGramsConfig, NGrams),
    "virtex": Architecture(VirTexConfig, VirTex),
    "icmlm": Architecture(ICMLMConfig, ICMLM),
    "convirt": Architecture(ConVIRTConfig, ConVIRT),
    "detector": Architecture(DetectorConfig, Detector),
    "clip": Architecture(CLIPConfig, CLIP),
    "bert": Architecture(BertConfig, Bert),
    "blip": Architecture(BLIPConfig, BLIP),
    "blip_vqa": Architecture(BLIPVQAConfig, BLIPVQA),
    "blip_nlvr2": Architecture(BLIPNLVR2Config, BLIPNLVR2),
}


def names(pattern: str = "*") -> list[str]:
    """Names in `MODELS` that match, or have an alias that does.

    Args:
        pattern: as in a shell, `*` for anything; case does not matter.
    """
    wanted = pattern.lower()
    return [
        name
        for name, line in MODELS.items()
        if any(fnmatch.fnmatchcase(known.lower(), wanted) for known in (name, *line.aliases))
    ]


def canonical(name: str) -> str:
    """The name in `MODELS` of a model, whichever library's name is given.

    Raises: ConfigError that names the nearest models when there is none.
    """
    if name in MODELS:
        return name
    found = {alias: key for key, line in MODELS.items() for alias in line.aliases}
    if name not in found:
        close = difflib.get_close_matches(name, [*MODELS, *found], n=3) or list(MODELS)[:3]
        raise ConfigError(
            f"no model {name!r}", wanted="a name that `limner models` lists", hint=" or ".join(close)
        )
    return found[name]


def entry(name: str) -> ModelEntry:
    """Return the line of `MODELS` for a name or an alias.

    Raises: ConfigError that names the nearest models when there is none.
    """
    return MODELS[canonical(name)]


def architecture_of(config: Config) -> str:
    """The key of `ARCHITECTURES` whose config this is.

    Raises: ConfigError when it is no model's.
    """
    for name, kind in ARCHITECTURES.items():
        if type(config) is kind.config:
            return name
    raise ConfigError(
        f"{type(config).__name__} is no model's config",
        wanted=" or ".join(kind.config.__name__ for kind in ARCHITECTURES.values()),
    )


def build(name_or_config: str | Config) -> nn.Module:
    """Make a model with fresh weights.

    Args:
        name_or_config: a name in `MODELS` or one of its aliases, or the config of a model.
    Raises: ConfigError when the name is unknown or the config is no model's.
    """
    config = entry(name_or_config).config if isinstance(name_or_config, str) else name_or_config
    return ARCHITECTURES[architecture_of(config)].build(config)


class _Listing(ModuleType):
    """This module, which can be called: `limner.models("vit*")`."""

    def __call__(self, pattern: str = "*") -> list[str]:
        return names(pattern)


sys.modules[__name__].__class__ = _Listing
