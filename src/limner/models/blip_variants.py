"""The BLIPs by name: the released ones of Li et al. 2022 (arXiv 2201.12086), and limner's own small one.

Parameter counts are exact. A task's model is a BLIP with fewer heads, or a class of its own.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from limner.config import Config
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig, Head
from limner.models.blip_nlvr2 import BLIPNLVR2, BLIPNLVR2Config
from limner.models.blip_vqa import BLIPVQA, BLIPVQAConfig
from limner.models.entry import ModelEntry
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

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


def _vision(size: str, image_size: int, drop_path: float = 0.0) -> ViTConfig:
    if size == "base":
        return ViTConfig(
            image_size=image_size,
            patch_size=16,
            width=768,
            depth=12,
            num_heads=12,
            mlp_dim=3072,
            drop_path=drop_path,
        )
    return ViTConfig(
        image_size=image_size, patch_size=16, width=1024, depth=24, num_heads=16, mlp_dim=4096, drop_path=0.1
    )


def _text(memory_width: int) -> BertConfig:
    return BertConfig(
        vocab_size=30524, width=768, depth=12, num_heads=12, mlp_dim=3072, memory_width=memory_width
    )


def _blip(size: str, image_size: int, heads: tuple[Head, ...], *aliases: str) -> ModelEntry:
    vision = _vision(size, image_size)
    return _entry(BLIPConfig(vision=vision, text=_text(vision.width), heads=heads), BLIP, aliases)


def _entry(config: Config, build: Callable[[Any], nn.Module], aliases: tuple[str, ...]) -> ModelEntry:
    image_spec = ImageSpec(size=config.vision.image_size)  # type: ignore[attr-defined]
    return ModelEntry(config, build, image_spec, "Li et al. 2022, section 4.1", aliases)


def _vqa(size: str, *aliases: str) -> ModelEntry:
    vision = _vision(size, 480, drop_path=0.1)
    return _entry(BLIPVQAConfig(vision=vision, text=_text(vision.width)), BLIPVQA, aliases)


def _nlvr2(size: str, *aliases: str) -> ModelEntry:
    vision = _vision(size, 384, drop_path=0.1)
    return _entry(BLIPNLVR2Config(vision=vision, text=_text(vision.width)), BLIPNLVR2, aliases)


VARIANTS: dict[str, ModelEntry] = {
    "blip_base": _blip(
        "base",
        224,
        ("itc", "itm", "lm"),
        *("model_base", "model_base_14M", "model_base_capfilt_large"),
        *("blip_pretrain/base", "blip_feature_extractor/base"),
    ),
    "blip_large": _blip("large", 224, ("itc", "itm", "lm"), "model_large"),
    "blip_base_caption": _blip(
        "base",
        384,
        ("lm",),
        *("model_base_caption_capfilt_large", "Salesforce/blip-image-captioning-base"),
        "blip_caption/base_coco",
    ),
    "blip_large_caption": _blip(
        "large",
        384,
        ("lm",),
        *("model_large_caption", "Salesforce/blip-image-captioning-large", "blip_caption/large_coco"),
    ),
    "blip_base_retrieval": _blip(
        "base",
        384,
        ("itc", "itm"),
        *("model_base_retrieval_coco", "model_base_retrieval_flickr"),
        *("Salesforce/blip-itm-base-coco", "Salesforce/blip-itm-base-flickr"),
        *("blip_retrieval/coco", "blip_retrieval/flickr"),
        "blip_image_text_matching/base",
    ),
    "blip_large_retrieval": _blip(
        "large",
        384,
        ("itc", "itm"),
        *("model_large_retrieval_coco", "model_large_retrieval_flickr"),
        *("Salesforce/blip-itm-large-coco", "Salesforce/blip-itm-large-flickr"),
        "blip_image_text_matching/large",
    ),
    "blip_base_vqa": _vqa(
        "base",
        *("model_vqa", "model_base_vqa_capfilt_large"),
        *("Salesforce/blip-vqa-base", "Salesforce/blip-vqa-capfilt-large"),
        *("blip_vqa/vqav2", "blip_vqa/okvqa", "blip_vqa/aokvqa"),
    ),
    "blip_base_nlvr2": _nlvr2("base", "model_base_nlvr", "blip_nlvr/nlvr"),
    "limner_tiny": ModelEntry(
        _LIMNER_TINY, BLIP, ImageSpec(size=64), "limner's own: a BLIP for two CPU cores"
    ),
}
