"""The pairs of `benchmarks/models.py`: a model of limner's, the peers' own, and one batch for both.

A peer gets limner's weights through the same key tables that `limner convert` writes with.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from limner.checkpoint import stored_weights
from limner.convert.keymap import write
from limner.models import MODELS, architecture_of, build

WORDS = 12
"""Words of BLIP's captions, between the two special tokens."""


class Side(NamedTuple):
    """One library's model.

    Args:
        name: of the library.
        build: makes it with fresh weights.
        run: the batch in, one tensor out.
        dialect: whose key table turns limner's weights into this library's; "" for limner's own.
        channels_last: memory format of pictures and convolutions.
    """

    name: str
    build: Callable[[], nn.Module]
    run: Callable[..., Tensor]
    dialect: str = ""
    channels_last: bool = False


class Case(NamedTuple):
    """One model and who else has it.

    Args:
        name: of the case.
        model: name in `MODELS`.
        ours: limner's side.
        peers: the others.
        batch: tensors both sides take.
    """

    name: str
    model: str
    ours: Side
    peers: tuple[Side, ...]
    batch: Callable[[], tuple[Tensor, ...]]


def share(case: Case, peer: Side, ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """The peer's model with limner's weights; a key that does not fit is an error, ties aside."""
    config = MODELS[case.model].config
    family = architecture_of(config).split("_")[0]
    dialects = importlib.import_module(f"limner.convert.{family}").DIALECTS
    dialect = next(d for d in dialects if (d.architecture, d.name) == (architecture_of(config), peer.dialect))
    weights = write(stored_weights(ours), dialect.keymap(config))
    if peer.dialect == "hf":  # whose names on disk are not those in memory
        made, info = type(theirs).from_pretrained(
            None, config=theirs.config, state_dict=weights, output_loading_info=True
        )
        lacking, unknown = info["missing_keys"], info["unexpected_keys"]
    else:
        made = theirs
        lacking, unknown = theirs.load_state_dict(weights, strict=False)
    left = [key for key in lacking if not key.endswith(("position_ids", "decoder.weight", "decoder.bias"))]
    if left or unknown:
        raise SystemExit(f"{case.name}: {peer.name} lacks {left[:3]} and does not know {list(unknown)[:3]}")
    return made


def pictures(count: int, size: int) -> Callable[[], tuple[Tensor, ...]]:
    """A batch of pictures."""
    return lambda: (torch.randn(count, 3, size, size),)


def captions(count: int, fewest: int, most: int) -> tuple[Tensor]:
    """CLIP's ids: captions in rows of 77, of so many tokens, the two special ones included."""
    ids = torch.zeros(count, 77, dtype=torch.int64)
    for row, length in enumerate(torch.randint(fewest - 2, most - 1, (count,)).tolist()):
        ids[row, : length + 2] = torch.randint(1, 49000, (length + 2,))
        ids[row, 0], ids[row, length + 1] = 49406, 49407
    return (ids,)


def about(count: int, size: int) -> tuple[Tensor, Tensor]:
    """Pictures with captions as BLIP's decoder reads them."""
    ids = torch.randint(1000, 30000, (count, WORDS + 2))
    ids[:, 0], ids[:, -1] = 30522, 102
    return torch.randn(count, 3, size, size), ids


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    made: nn.Module = models.get_model(name)
    return made


def _timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(name)


def _open_clip(name: str) -> nn.Module:
    import open_clip

    made: nn.Module = open_clip.create_model(name)
    return made


def _hf_clip() -> nn.Module:
    from transformers import CLIPConfig, CLIPModel

    text = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0}
    return CLIPModel(CLIPConfig(text_config=text))


def _hf_vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(num_labels=1000, hidden_act="gelu", layer_norm_eps=1e-6))


def _hf_blip() -> nn.Module:
    from transformers import BlipConfig, BlipForConditionalGeneration

    text = {
        "vocab_size": 30524,
        "num_attention_heads": 12,
        "encoder_hidden_size": 768,
        "hidden_dropout_prob": 0.1,
    }
    vision = {"image_size": 384, "layer_norm_eps": 1e-6}
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))


def _ours(model: str, run: Callable[..., Tensor], channels_last: bool = False) -> Side:
    return Side("limner", lambda: build(model), run, channels_last=channels_last)


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features.float(), dim=-1)


def _logits(model: nn.Module, pixels: Tensor) -> Tensor:
    found: Tensor = model(pixels).logits
    return found


def _call(model: nn.Module, *batch: Tensor) -> Tensor:
    found: Tensor = model(*batch)
    return found


def _write(model: Any, pixels: Tensor, ids: Tensor) -> Tensor:
    found: Tensor = model.decode(model.decoder_memory(model.encode_image(pixels)), ids)
    return found


def _hf_write(model: Any, pixels: Tensor, ids: Tensor) -> Tensor:
    found: Tensor = model(pixel_values=pixels, input_ids=ids).logits
    return found


CASES = (
    Case(
        "resnet50",
        "resnet50",
        _ours("resnet50", _logits, channels_last=True),
        (
            Side("torchvision", lambda: _torchvision("resnet50"), _call, "torchvision"),
            Side("timm", lambda: _timm("resnet50"), _call, "torchvision"),
            Side(
                "torchvision_cl", lambda: _torchvision("resnet50"), _call, "torchvision", channels_last=True
            ),
        ),
        pictures(4, 224),
    ),
    Case(
        "vit_b16",
        "vit_b16",
        _ours("vit_b16", _logits),
        (
            Side("timm", lambda: _timm("vit_base_patch16_224"), _call, "timm"),
            Side("torchvision", lambda: _torchvision("vit_b_16"), _call, "torchvision"),
            Side("transformers", _hf_vit, _logits, "hf"),
        ),
        pictures(2, 224),
    ),
    Case(
        "clip_image",
        "clip_vit_b32",
        _ours("clip_vit_b32", lambda model, pixels: model.encode_image(pixels)),
        (
            Side(
                "open_clip",
                lambda: _open_clip("ViT-B-32-quickgelu"),
                lambda model, pixels: model.encode_image(pixels, normalize=True),
                "open_clip",
            ),
            Side(
                "transformers",
                _hf_clip,
                lambda model, pixels: _unit(model.get_image_features(pixels).pooler_output),
                "hf",
            ),
        ),
        pictures(4, 224),
    ),
    Case(
        "clip_rn50",
        "clip_rn50",
        _ours("clip_rn50", lambda model, pixels: model.encode_image(pixels), channels_last=True),
        (
            Side(
                "open_clip",
                lambda: _open_clip("RN50-quickgelu"),
                lambda model, pixels: model.encode_image(pixels, normalize=True),
                "open_clip",
            ),
        ),
        pictures(4, 224),
    ),
    Case(
        "clip_text",
        "clip_vit_b32",
        _ours("clip_vit_b32", lambda model, ids: model.encode_text(ids)),
        (
            Side(
                "open_clip",
                lambda: _open_clip("ViT-B-32-quickgelu"),
                lambda model, ids: model.encode_text(ids, normalize=True),
                "open_clip",
            ),
            Side(
                "transformers",
                _hf_clip,
                lambda model, ids: _unit(model.get_text_features(ids).pooler_output),
                "hf",
            ),
        ),
        lambda: captions(32, 10, 14),
    ),
    Case(
        "clip_text_long",
        "clip_vit_b32",
        _ours("clip_vit_b32", lambda model, ids: model.encode_text(ids)),
        (
            Side(
                "open_clip",
                lambda: _open_clip("ViT-B-32-quickgelu"),
                lambda model, ids: model.encode_text(ids, normalize=True),
                "open_clip",
            ),
            Side(
                "transformers",
                _hf_clip,
                lambda model, ids: _unit(model.get_text_features(ids).pooler_output),
                "hf",
            ),
        ),
        lambda: captions(32, 10, 22),
    ),
    Case(
        "blip_caption",
        "blip_base_caption",
        _ours("blip_base_caption", _write),
        (Side("transformers", _hf_blip, _hf_write, "hf"),),
        lambda: about(1, 384),
    ),
)
