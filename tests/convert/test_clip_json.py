from typing import Any

import pytest

from limner.convert.clip_json import hf_json, hf_style, open_clip_json, open_clip_style
from limner.convert.clip_sizes import Style
from limner.errors import CheckpointError
from limner.models import MODELS
from limner.models.clip import CLIPConfig
from limner.models.clip_variants import VARIANTS

VISION = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}


def config(name: str) -> CLIPConfig:
    found = MODELS[name].config
    assert isinstance(found, CLIPConfig)
    return found


def open_clip(quick: bool = False, **change: Any) -> dict[str, Any]:
    vision = {**VISION, **change.pop("vision", {})}
    text = {**TEXT, **change.pop("text", {})}
    return {"model_cfg": {"embed_dim": 512, "quick_gelu": quick, "vision_cfg": vision, "text_cfg": text}}


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip_says_activation_heads_and_size(quick: bool) -> None:
    activation = "quick_gelu" if quick else "gelu"
    assert open_clip_style(open_clip(quick)) == Style(activation, activation, 12, 8, 224)


def test_open_clips_options_are_followed() -> None:
    style = open_clip_style(
        open_clip(
            vision={"head_width": 96, "image_size": [30, 30], "act_kwargs": {"approximate": "tanh"}},
            text={"pool_type": "eos", "eos_id": 9, "norm_kwargs": {"eps": 1e-6}, "no_causal_mask": False},
        )
    )
    assert style == Style("gelu_tanh", "gelu", 8, 8, 30, 1e-5, 1e-6, 9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no model_cfg"),
        (open_clip(vision={"pool_type": "avg"}), "vision_cfg.pool_type is 'avg'"),
        (open_clip(vision={"no_ln_pre": True}), "vision_cfg.no_ln_pre is True"),
        (open_clip(vision={"timm_model_name": "vit_base"}), "timm_model_name is 'vit_base'"),
        (open_clip(vision={"image_size": [224, 336]}), "image_size is"),
        (open_clip(vision={"head_width": "x"}), "head_width is 'x'"),
        (open_clip(text={"pool_type": "last"}), "text_cfg.pool_type is 'last'"),
        (open_clip(text={"no_causal_mask": True}), "text_cfg.no_causal_mask is True"),
        (open_clip(text={"hf_model_name": "roberta-base"}), "hf_model_name is 'roberta-base'"),
        (open_clip(text={"hf_tokenizer_name": "xlm", "vocab_size": 901629}), "texts are split by xlm"),
        (open_clip(True, vision={"act_kwargs": {"approximate": "tanh"}}), "act_kwargs"),
    ],
)
def test_what_limners_clip_does_not_have_is_refused_by_field(given: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        open_clip_style(given)


@pytest.mark.peer
@pytest.mark.parametrize("name", VARIANTS)
def test_open_clip_would_build_the_same_sizes(name: str) -> None:
    """Heads and hidden widths come out of ratios rounded down."""
    found = config(name)
    written = open_clip_json(found)
    vision, text = written["vision_cfg"], written["text_cfg"]
    assert int(text["width"] * text["mlp_ratio"]) == found.text.mlp_dim
    if "mlp_ratio" in vision:
        assert int(vision["width"] * vision["mlp_ratio"]) == found.vision.mlp_dim
    style = open_clip_style({"model_cfg": written})
    assert (style.vision_heads, style.text_heads) == (found.vision.num_heads, found.text.num_heads)
    assert (style.text_activation, style.image_size) == (found.text.activation, found.vision.image_size)


def hf(**change: Any) -> dict[str, Any]:
    return {"model_type": "clip", "text_config": {}, "vision_config": {}, **change}


def test_transformers_defaults_are_openais() -> None:
    assert hf_style(hf()) == Style("quick_gelu", "quick_gelu", 12, 8, 224)


def test_a_tower_said_twice_is_taken_as_transformers_takes_it() -> None:
    """Old files: text_config_dict wins over text_config, with its own defaults."""
    style = hf_style(
        hf(
            text_config={"num_attention_heads": 4, "hidden_act": "gelu"},
            text_config_dict={"num_attention_heads": 12},
            vision_config_dict=None,
            vision_config={"hidden_act": "gelu", "num_attention_heads": 16},
        )
    )
    assert style == Style("gelu", "quick_gelu", 16, 12, 224)


@pytest.mark.peer
def test_transformers_takes_it_so() -> None:
    from transformers import CLIPConfig as Theirs

    given = hf(text_config={"hidden_act": "gelu"}, text_config_dict={"num_attention_heads": 16})
    theirs = Theirs(**given)
    style = hf_style(given)
    assert style.text_activation == theirs.text_config.hidden_act == "quick_gelu"
    assert style.text_heads == theirs.text_config.num_attention_heads == 16


@pytest.mark.parametrize(("eos", "eot_id"), [(2, None), (49407, None), (7, 7)])
def test_end_tokens(eos: int, eot_id: int | None) -> None:
    assert hf_style(hf(text_config={"eos_token_id": eos})).eot_id == eot_id


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (hf(model_type="siglip"), "model_type is 'siglip'"),
        (hf(text_config={"hidden_act": "relu"}), "hidden_act is 'relu'"),
        (hf(vision_config={"num_attention_heads": "x"}), "num_attention_heads is 'x'"),
        (hf(text_config={"eos_token_id": [2, 3]}), "eos_token_id is"),
    ],
)
def test_transformers_json_that_is_no_clips_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        hf_style(given)


def test_written_json_reads_back() -> None:
    found = config("clip_vit_h14")
    style = hf_style(hf_json(found))
    assert style == Style("gelu", "gelu", 16, 16, 224)
    assert hf_json(found)["text_config"]["eos_token_id"] == 49407
