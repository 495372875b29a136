from typing import Any

import pytest

from limner.convert.clip_json import hf_json, open_clip_json
from limner.convert.clip_limits import (
    check_hf,
    check_hf_json,
    check_open_clip,
    check_open_clip_json,
    check_openai,
)
from limner.errors import CheckpointError
from limner.models import MODELS
from limner.models.clip import CLIPConfig


def config(name: str, vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None) -> CLIPConfig:
    values = MODELS[name].config.model_dump()
    return CLIPConfig.model_validate(
        {
            **values,
            "vision": {**values["vision"], **(vision or {})},
            "text": {**values["text"], **(text or {})},
        }
    )


@pytest.mark.parametrize("name", ["clip_vit_b32", "clip_vit_l14_336", "clip_rn50", "clip_rn50x64"])
def test_openais_own_models_fit_everywhere_that_has_them(name: str) -> None:
    found = config(name)
    check_openai(found)
    check_open_clip(found)
    if "rn" not in name:
        check_hf(found)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (config("clip_vit_b32_gelu"), "text.activation is not quick_gelu"),
        (config("clip_vit_h14_quickgelu"), "vision.num_heads is not width / 64"),
        (config("clip_vit_b32", {"image_size": 230}), "no whole number of patches"),
        (config("clip_vit_b32", {"mlp_dim": 100}), "vision.mlp_dim is not 4 times"),
        (config("clip_vit_b32", {"layer_norm_eps": 1e-6}), "vision.layer_norm_eps is not 1e-5"),
        (config("clip_vit_b32", text={"eot_id": 7}), "text.eot_id is given"),
        (config("clip_rn50", {"num_heads": 16}), "vision.num_heads is not width / 2"),
        (config("clip_rn50", {"image_size": 230}), "not a multiple of 32"),
    ],
)
def test_openais_format_refuses_what_its_shapes_cannot_tell(found: CLIPConfig, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        check_openai(found)
    assert error.value.hint == "--to open_clip"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": "gap"}, "vision.pool 'gap'"),
        ({"patch_bias": True}, "vision.patch_bias True"),
        ({"pre_norm": False}, "vision.pre_norm False"),
        ({"position": "none"}, "vision.position 'none'"),
    ],
)
def test_towers_that_no_clip_has_are_refused(change: dict[str, Any], message: str) -> None:
    for check in (check_openai, check_open_clip, check_hf):
        with pytest.raises(CheckpointError, match=message):
            check(config("clip_vit_b32", change))


def test_open_clip_gives_both_towers_one_activation() -> None:
    mixed = config("clip_vit_b32", {"activation": "gelu"})
    with pytest.raises(CheckpointError, match="vision gelu, text quick_gelu"):
        check_open_clip(mixed)
    check_hf(mixed)


def test_transformers_have_no_resnets_and_no_end_token_2() -> None:
    with pytest.raises(CheckpointError, match="no ResNet tower"):
        check_hf(config("clip_rn50"))
    with pytest.raises(CheckpointError, match="id of 2 to mean the largest"):
        check_hf(config("clip_vit_b32", text={"eot_id": 2}))


def test_json_of_another_model_is_refused() -> None:
    found, other = config("clip_vit_b32"), config("clip_vit_b16")
    check_open_clip_json(found, {"model_cfg": open_clip_json(found)})
    check_hf_json(found, hf_json(found))
    check_hf_json(found, {"text_config": None})
    with pytest.raises(CheckpointError, match=r"vision_cfg\.patch_size is 16, the tensors have 32"):
        check_open_clip_json(found, {"model_cfg": open_clip_json(other)})
    with pytest.raises(CheckpointError, match=r"vision_config\.patch_size is 16, the tensors have 32"):
        check_hf_json(found, hf_json(other))
