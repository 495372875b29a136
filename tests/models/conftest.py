"""Small BLIPs, and transformers' own with the same random weights."""

from collections.abc import Callable, Mapping
from functools import reduce

import pytest
import torch
from torch import Tensor, nn

from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig

WIDTH, DEPTH, HEADS, MLP, WORDS = 32, 2, 2, 48, 40


def _config(sharing: str = "all_but_self_attention", words: int = WORDS) -> BLIPConfig:
    vision = ViTConfig(image_size=32, patch_size=8, width=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_dim=MLP)
    text = BertConfig(
        vocab_size=words,
        width=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_dim=MLP,
        max_positions=24,
        memory_width=WIDTH,
    )
    return BLIPConfig.model_validate(
        {
            "vision": vision,
            "text": text,
            "embed_dim": 16,
            "sharing": sharing,
            "pad_id": 0,
            "cls_id": 2,
            "sep_id": 3,
            "dec_id": 5,
            "enc_id": 6,
        }
    )


@torch.no_grad()
def _stir(model: nn.Module) -> None:
    """Give every parameter, biases and norms among them, a value that shows when it is used wrongly."""
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.add_(1.0)


@pytest.fixture
def small_blip() -> Callable[..., BLIP]:
    """A function that makes a small BLIP in eval mode, with stirred weights."""

    def make(sharing: str = "all_but_self_attention", words: int = WORDS) -> BLIP:
        model = BLIP(_config(sharing, words)).eval()
        _stir(model)
        return model

    return make


VISION_KEYS = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding": "patch_embed.proj",
    "encoder.layers": "blocks",
    "self_attn.qkv": "attn.qkv",
    "self_attn.projection": "attn.proj",
    "layer_norm": "norm",
    "post_layernorm": "norm",
}


def _vision(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        reduce(lambda key, names: key.replace(*names), VISION_KEYS.items(), key): value
        for key, value in theirs.items()
    }


def _text(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    ours = {}
    embeddings = {"words": "word_embeddings", "positions": "position_embeddings", "norm": "LayerNorm"}
    for end in ("weight", "bias"):
        for our, their in embeddings.items():
            if f"embeddings.{their}.{end}" in theirs:
                ours[f"embeddings.{our}.{end}"] = theirs[f"embeddings.{their}.{end}"]
        for i in range(DEPTH):

            def of(name: str, i: int = i, end: str = end) -> Tensor:
                return theirs[f"encoder.layer.{i}.{name}.{end}"]

            own, cross = "attention.self", "crossattention.self"
            ours |= {
                f"self_attention.{i}.qkv.{end}": torch.cat(
                    [of(f"{own}.{p}") for p in ("query", "key", "value")]
                ),
                f"self_attention.{i}.out.{end}": of("attention.output.dense"),
                f"self_attention.{i}.norm.{end}": of("attention.output.LayerNorm"),
                f"cross_attention.{i}.query.{end}": of(f"{cross}.query"),
                f"cross_attention.{i}.kv.{end}": torch.cat([of(f"{cross}.{p}") for p in ("key", "value")]),
                f"cross_attention.{i}.out.{end}": of("crossattention.output.dense"),
                f"cross_attention.{i}.norm.{end}": of("crossattention.output.LayerNorm"),
                f"mlp.{i}.fc1.{end}": of("intermediate.dense"),
                f"mlp.{i}.fc2.{end}": of("output.dense"),
                f"mlp.{i}.norm.{end}": of("output.LayerNorm"),
            }
    return ours


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _their_config() -> object:
    from transformers import BlipConfig

    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "intermediate_size": MLP,
    }
    ids = {"bos_token_id": 5, "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3}
    text = {"vocab_size": WORDS, "encoder_hidden_size": WIDTH, "max_position_embeddings": 24, **sizes, **ids}
    vision = {"image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6, **sizes}
    return BlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=16)


@pytest.fixture
def captioners() -> tuple[BLIP, nn.Module]:
    """Our BLIP and transformers' captioner with the same weights."""
    from transformers import BlipForConditionalGeneration

    theirs = BlipForConditionalGeneration(_their_config()).eval()
    _stir(theirs)
    state = theirs.state_dict()
    head = _under(state, "text_decoder.cls.predictions.")
    ours = BLIP(_config("all")).eval()
    ours.vision.load_state_dict(_vision(_under(state, "vision_model.")))
    ours.text_encoder.load_state_dict(_text(_under(state, "text_decoder.bert.")))
    ours.lm_head.load_state_dict(
        {
            "bias": head["bias"],
            "dense.weight": head["transform.dense.weight"],
            "dense.bias": head["transform.dense.bias"],
            "norm.weight": head["transform.LayerNorm.weight"],
            "norm.bias": head["transform.LayerNorm.bias"],
        }
    )
    return ours, theirs


@pytest.fixture
def matchers() -> tuple[BLIP, nn.Module]:
    """Our BLIP and transformers' matcher with the same weights."""
    from transformers import BlipForImageTextRetrieval

    theirs = BlipForImageTextRetrieval(_their_config()).eval()
    _stir(theirs)
    state = theirs.state_dict()
    ours = BLIP(_config("all")).eval()
    ours.vision.load_state_dict(_vision(_under(state, "vision_model.")))
    ours.text_encoder.load_state_dict(_text(_under(state, "text_encoder.")))
    for name in ("vision_proj", "text_proj", "itm_head"):
        ours.get_submodule(name).load_state_dict(_under(state, f"{name}."))
    return ours, theirs
