"""Keys of CLIP in the words of OpenAI, open_clip and transformers, and which tensors OpenAI keeps in fp16."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

from limner.convert.keymap import KeyMap, Line, fused, nested, renamed, reshaped, same, transposed
from limner.models.clip import CLIPConfig
from limner.models.clip_resnet import CLIPResNet, CLIPResNetConfig
from limner.models.vit_config import ViTConfig

INTEGERS: Final = ("input_resolution", "context_length", "vocab_size")
"""Buffers of OpenAI's archives that hold sizes, not weights."""

_HALF: Final = re.compile(
    r"visual\.(layer\d\.\d+\.)?conv\d\.weight|visual\.layer\d\.\d+\.downsample\.0\.weight"
    r"|visual\.attnpool\.[qkvc]_proj\.(weight|bias)|visual\.proj|(text\.)?text_projection"
    r"|(visual\.|text\.)?transformer\.resblocks\.\d+\.(attn\.in_proj_|attn\.out_proj\.|mlp\.c_(fc|proj)\.)(weight|bias)"
)


def stores_half(key: str) -> bool:
    """Whether OpenAI keeps this tensor in fp16: convolutions, dense layers, attention, both projections.

    Embeddings, positions, norms and the logit scale stay fp32.

    Args:
        key: of OpenAI's or open_clip's state dict.
    Source: `convert_weights` of the released code.
    """
    return _HALF.fullmatch(key) is not None


def openai_keys(config: CLIPConfig) -> KeyMap:
    """The table of OpenAI's archives, which hold three sizes as integer buffers beside the weights."""
    sizes = config.vision.image_size, config.text.context_length, config.text.vocab_size
    buffers = {key: torch.tensor(size) for key, size in zip(INTEGERS, sizes, strict=True)}
    return open_clip_keys(config)._replace(extras=buffers)


def open_clip_keys(config: CLIPConfig) -> KeyMap:
    """The table of open_clip's `CLIP`: OpenAI's keys without the buffers."""
    lines = (*_vision(config), *_text(config), _scale())
    return KeyMap(lines, (*INTEGERS, r"(?:transformer\.resblocks\.\d+\.)?attn_mask"), **_never_stored(config))


def custom_text_keys(config: CLIPConfig) -> KeyMap:
    """The table of open_clip's `CustomTextCLIP`: everything of the text tower stands under `text.`."""
    lines = (*_vision(config), *nested(_text(config), "", "text."), _scale())
    return KeyMap(lines, (r"text\.(?:transformer\.resblocks\.\d+\.)?attn_mask",), **_never_stored(config))


def hf_keys(config: CLIPConfig) -> KeyMap:
    """The table of transformers' `CLIPModel`; there is none for ResNets."""
    vision, text = config.vision, config.text
    assert isinstance(vision, ViTConfig)
    lines = [
        *nested(_hf_vision(vision), "vision.", "vision_model."),
        *nested(_hf_text(text.depth), "text.", "text_model."),
        same("vision_proj.weight", "visual_projection.weight"),
        same("text_proj.weight", "text_projection.weight"),
        _scale(),
    ]
    return KeyMap(tuple(lines), (r"(vision|text)_model\.embeddings\.position_ids",))


def _scale() -> Line:
    """Some files hold the scale as a list of one number; the model refuses any other shape."""

    def read(theirs: Sequence[Tensor]) -> Tensor:
        return theirs[0].reshape(()) if theirs[0].numel() == 1 else theirs[0]

    return Line("log_logit_scale", ("logit_scale",), read, lambda t: (t,))


def _never_stored(config: CLIPConfig) -> dict[str, dict[str, Tensor]]:
    """Counters of batch norm, which some files lack."""
    if isinstance(config.vision, ViTConfig):
        return {}
    keys = (f"vision.{key}" for key in _resnet_keys(config.vision))
    return {"fills": {key: torch.tensor(0) for key in keys if key.endswith("num_batches_tracked")}}


def _resnet_keys(config: CLIPResNetConfig) -> list[str]:
    with torch.device("meta"):
        return list(CLIPResNet(config).state_dict())


def _vision(config: CLIPConfig) -> Iterable[Line]:
    vision = config.vision
    if isinstance(vision, CLIPResNetConfig):
        return [same(f"vision.{key}", f"visual.{key}") for key in _resnet_keys(vision)]
    tokens = vision.num_patches + 1
    lines = [
        reshaped("cls_token", "class_embedding", (1, 1, vision.width), (vision.width,)),
        reshaped("pos_embed", "positional_embedding", (1, tokens, vision.width), (tokens, vision.width)),
        same("patch_embed.proj.weight", "conv1.weight"),
        *renamed("norm_pre", "ln_pre"),
        *_blocks(vision.depth),
        *renamed("norm", "ln_post"),
    ]
    return [*nested(lines, "vision.", "visual."), transposed("vision_proj.weight", "visual.proj")]


def _text(config: CLIPConfig) -> Iterable[Line]:
    return [
        same("text.words.weight", "token_embedding.weight"),
        same("text.positions", "positional_embedding"),
        *nested(_blocks(config.text.depth), "text.", ""),
        *renamed("text.norm", "ln_final"),
        transposed("text_proj.weight", "text_projection"),
    ]


def _blocks(depth: int) -> list[Line]:
    block = [
        *renamed("norm1", "ln_1"),
        same("attn.qkv.weight", "attn.in_proj_weight"),
        same("attn.qkv.bias", "attn.in_proj_bias"),
        *renamed("attn.proj", "attn.out_proj"),
        *renamed("norm2", "ln_2"),
        *renamed("mlp.fc1", "mlp.c_fc"),
        *renamed("mlp.fc2", "mlp.c_proj"),
    ]
    return [
        line for i in range(depth) for line in nested(block, f"blocks.{i}.", f"transformer.resblocks.{i}.")
    ]


def _hf_vision(config: ViTConfig) -> list[Line]:
    tokens = config.num_patches + 1
    table = "embeddings.position_embedding.weight"
    return [
        reshaped("cls_token", "embeddings.class_embedding", (1, 1, config.width), (config.width,)),
        reshaped("pos_embed", table, (1, tokens, config.width), (tokens, config.width)),
        same("patch_embed.proj.weight", "embeddings.patch_embedding.weight"),
        *renamed("norm_pre", "pre_layrnorm"),
        *_hf_blocks(config.depth),
        *renamed("norm", "post_layernorm"),
    ]


def _hf_text(depth: int) -> list[Line]:
    return [
        same("words.weight", "embeddings.token_embedding.weight"),
        same("positions", "embeddings.position_embedding.weight"),
        *_hf_blocks(depth),
        *renamed("norm", "final_layer_norm"),
    ]


def _hf_blocks(depth: int) -> list[Line]:
    block = [
        *renamed("norm1", "layer_norm1"),
        *(
            fused(f"attn.qkv.{end}", (f"self_attn.{p}_proj.{end}" for p in "qkv"))
            for end in ("weight", "bias")
        ),
        *renamed("attn.proj", "self_attn.out_proj"),
        *renamed("norm2", "layer_norm2"),
        *renamed("mlp.fc1", "mlp.fc1"),
        *renamed("mlp.fc2", "mlp.fc2"),
    ]
    return [line for i in range(depth) for line in nested(block, f"blocks.{i}.", f"encoder.layers.{i}.")]
