"""Small BLIPs, and transformers' own with the same random weights."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from limner.convert.blip import DIALECTS
from limner.convert.dialect import Weights
from limner.convert.keymap import read
from limner.models import build
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.blip_vqa import BLIPVQA, BLIPVQAConfig
from limner.models.vit import ViTConfig

WIDTH, DEPTH, HEADS, MLP, WORDS = 32, 2, 2, 48, 40


def _values(words: int = WORDS) -> dict[str, object]:
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
    ids = {"pad_id": 0, "cls_id": 2, "sep_id": 3, "dec_id": 5, "enc_id": 6}
    return {"vision": vision, "text": text, **ids}


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

    def make(
        sharing: str = "all_but_self_attention",
        words: int = WORDS,
        heads: tuple[str, ...] = ("itc", "itm", "lm"),
        num_classes: int = 0,
    ) -> BLIP:
        own = {"embed_dim": 16, "sharing": sharing, "heads": heads, "num_classes": num_classes}
        model = BLIP(BLIPConfig.model_validate(_values(words) | own)).eval()
        _stir(model)
        return model

    return make


@pytest.fixture
def small_vqa() -> BLIPVQA:
    """A small question answerer in eval mode, with stirred weights."""
    model = BLIPVQA(BLIPVQAConfig.model_validate(_values())).eval()
    _stir(model)
    return model


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


def _same_weights(theirs: nn.Module) -> nn.Module:
    """Our model with the weights of one of transformers', which are stirred first."""
    _stir(theirs.eval())
    sides = {"config.json": theirs.config.to_dict()}
    sides["config.json"]["text_config"] |= {"cls_token_id": 2, "enc_token_id": 6}
    weights = Weights(theirs.state_dict(), {}, sides, Path("theirs"), "", "safetensors")
    (dialect,) = (line for line in DIALECTS if line.recognises(weights))
    config = dialect.describe(weights).config
    ours = build(config).eval()
    ours.load_state_dict(read(weights.tensors, dialect.keymap(config), "theirs"))
    return ours


@pytest.fixture
def captioners() -> tuple[BLIP, nn.Module]:
    """Our captioner and transformers' with the same weights."""
    from transformers import BlipForConditionalGeneration

    theirs = BlipForConditionalGeneration(_their_config())
    return _same_weights(theirs), theirs


@pytest.fixture
def matchers() -> tuple[BLIP, nn.Module]:
    """Our retrieval model and transformers' with the same weights."""
    from transformers import BlipForImageTextRetrieval

    theirs = BlipForImageTextRetrieval(_their_config())
    return _same_weights(theirs), theirs


@pytest.fixture
def answerers() -> tuple[BLIPVQA, nn.Module]:
    """Our question answerer and transformers' with the same weights."""
    from transformers import BlipForQuestionAnswering

    theirs = BlipForQuestionAnswering(_their_config())
    return _same_weights(theirs), theirs


Released = Callable[[str], tuple[dict[str, Tensor], dict[str, Tensor]]]


@pytest.fixture
def released_model(released_blip: Released) -> Callable[[str], tuple[nn.Module, SimpleNamespace]]:
    """A function of a golden file's name: our model of that checkpoint, and what the released code tells."""

    def load(name: str) -> tuple[nn.Module, SimpleNamespace]:
        tensors, told = released_blip(name)
        weights = Weights(tensors, {}, {}, Path(name), "", "torch")
        (dialect,) = (line for line in DIALECTS if line.recognises(weights))
        config = dialect.describe(weights).config
        ours = build(config).eval()
        ours.load_state_dict(read(tensors, dialect.keymap(config), name))
        return ours, SimpleNamespace(**told)

    return load
