"""timm's ViTs, DeiTs and hybrids: opened, run beside timm, written, opened by timm; and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.convert import keymap as keys
from limner.convert.dialect import Description
from limner.convert.labels import IMAGENET_1K
from limner.convert.vit import DIALECTS, TIMM
from limner.errors import CheckpointError
from limner.models.vit import ViT, ViTConfig
from limner.shapes import IMAGENET_MEAN, ImageSpec

SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
CONFIG = ViTConfig(image_size=32, patch_size=8, width=128, depth=2, num_heads=2, mlp_dim=192, num_classes=5)
SPEC = ImageSpec(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop="center", crop_fraction=0.9)

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vit_base_patch16_224", SMALL | {"num_classes": 7}),
    "headless": ("vit_base_patch16_224", SMALL | {"num_classes": 0}),
    "odd size": ("vit_base_patch16_224", SMALL | {"img_size": 35, "num_classes": 7}),
    "avg": ("vit_base_patch16_224", SMALL | {"num_classes": 7, "global_pool": "avg"}),
    "no class token": (
        "vit_base_patch16_224",
        SMALL | {"num_classes": 7, "class_token": False, "global_pool": "avg", "fc_norm": False},
    ),
    "mean of normed": (
        "vit_base_patch16_224",
        SMALL | {"num_classes": 7, "global_pool": "avg", "fc_norm": False},
    ),
    "clip": ("vit_base_patch16_clip_224", SMALL | {"num_classes": 7}),
    "clip quickgelu": ("vit_base_patch16_clip_quickgelu_224", SMALL | {"num_classes": 7}),
    "deit": ("deit_tiny_patch16_224", SMALL | {"num_classes": 7}),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL | {"num_classes": 7}),
    "distilled headless": ("deit_tiny_distilled_patch16_224", SMALL | {"num_classes": 0}),
    "root hybrid": (
        "vit_tiny_r_s16_p8_224",
        {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 1, "num_classes": 7},
    ),
    "odd hybrid": (
        "vit_tiny_r_s16_p8_224",
        {"img_size": 61, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 1, "num_classes": 7},
    ),
    "hybrid": (
        "vit_small_r26_s32_224",
        {"img_size": 64, "embed_dim": 64, "depth": 1, "num_heads": 1, "num_classes": 7},
    ),
}


# Standardised weights are small differences: in fp32 either library is 5e-6 away from the hybrid in fp64.
BOUNDS = {"hybrid": 3e-5}


def timm_model(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """The model and the config.json that timm would write beside it."""
    import timm

    architecture, arguments = MODELS[name]
    model = timm.create_model(architecture, **arguments)
    told = {
        "architecture": architecture,
        "num_classes": model.num_classes,
        "global_pool": model.global_pool,
        "model_args": {key: value for key, value in arguments.items() if key != "num_classes"},
        "pretrained_cfg": {
            **model.pretrained_cfg,
            "input_size": [3, arguments["img_size"], arguments["img_size"]],
        },
    }
    return model, json.loads(json.dumps(told))


@pytest.mark.peer
@pytest.mark.parametrize("name", MODELS)
def test_timms_models_run_the_same(
    name: str, stirred: Callable[..., Any], open_vit: Callable[..., Any], same_logits: Callable[..., None]
) -> None:
    theirs, told = timm_model(name)
    stirred(theirs)
    ours, description, dialect = open_vit(theirs.state_dict(), config=told)
    assert dialect is TIMM
    assert description.config.num_classes == theirs.num_classes
    assert description.image_spec.size == description.config.image_size == theirs.patch_embed.img_size[0]
    headless = not theirs.num_classes
    same_logits(ours, (lambda x: _token(theirs, x)) if headless else theirs, BOUNDS.get(name, 1e-5))


def _token(theirs: nn.Module, pixels: Tensor) -> Tensor:
    return theirs.forward_features(pixels)[:, 0]


@pytest.mark.peer
@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_timm_opens(
    name: str,
    tmp_path: Path,
    stirred: Callable[..., Any],
    open_vit: Callable[..., Any],
    same_logits: Callable[..., None],
) -> None:
    import timm
    from safetensors.torch import save_file

    theirs, told = timm_model(name)
    state = stirred(theirs).state_dict()
    ours, description, _ = open_vit(state, config=told)
    TIMM.checks(description.config)
    written = keys.write(ours.state_dict(), TIMM.keymap(description.config))
    assert written.keys() == state.keys()
    assert all(torch.equal(written[key], state[key]) for key in state)
    save_file(written, tmp_path / "model.safetensors")
    for file, value in TIMM.companions(description.config, description).items():
        (tmp_path / file).write_text(json.dumps(value))
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    headless = not theirs.num_classes
    same_logits(ours, (lambda x: _token(again, x)) if headless else again, BOUNDS.get(name, 1e-5))
    data = timm.data.resolve_model_data_config(again)
    assert data["input_size"] == (3, description.image_spec.size, description.image_spec.size)


@pytest.mark.peer
def test_a_distilled_deit_averages_both_heads(
    stirred: Callable[..., Any], open_vit: Callable[..., Any], same_logits: Callable[..., None]
) -> None:
    """Trap 24: with one head instead of the mean of two the logits are others."""
    theirs, told = timm_model("distilled")
    ours, _, _ = open_vit(stirred(theirs).state_dict(), config=told)
    ours.head_dist = ours.head
    with pytest.raises(AssertionError):
        same_logits(ours, theirs)


@pytest.mark.parametrize("pool", ["token", "gap_norm"])
def test_a_round_trip_is_bit_equal(
    pool: str, stirred: Callable[..., Any], open_vit: Callable[..., Any]
) -> None:
    config = CONFIG.model_copy(update={"pool": pool})
    state = stirred(ViT(config)).state_dict()
    description = Description(config, SPEC, "classification", tuple("abcde"))
    sides = TIMM.companions(config, description)
    ours, found, _ = open_vit(keys.write(state, TIMM.keymap(config)), config=sides["config.json"])
    assert found.config == config
    assert (found.labels, found.image_spec, found.notes) == (tuple("abcde"), SPEC, ())
    assert all(torch.equal(ours.state_dict()[key], state[key]) for key in state)


def test_old_files_with_a_representation_layer_are_read(open_vit: Callable[..., Any]) -> None:
    config = CONFIG.model_copy(update={"representation_dim": 48})
    ours, found, _ = open_vit(ViT(config).state_dict(), "vit_custom.pth")
    assert found.config == config
    assert ours.pre_logits.fc.weight.shape == (48, 128)
    with pytest.raises(CheckpointError, match="representation_dim"):
        TIMM.checks(config)


def test_without_json_the_file_name_decides_on_pictures(open_vit: Callable[..., Any]) -> None:
    config = CONFIG.model_copy(update={"num_classes": 1000})
    state = ViT(config).state_dict()
    _, deit, _ = open_vit(state, "deit_tiny_patch16_224-a1311bcf.pth")
    assert (deit.image_spec.mean, deit.image_spec.resize_px) == (IMAGENET_MEAN, round(256 / 224 * 32))
    _, plain, _ = open_vit(state, "vit.pth")
    assert plain.image_spec == SPEC
    assert plain.labels == IMAGENET_1K
    assert any("No config.json" in note for note in plain.notes)
    assert any("taken for ImageNet's" in note for note in plain.notes)
    assert any("2 heads were assumed" in note for note in plain.notes)


@pytest.mark.parametrize(
    ("width", "heads"), [(192, 3), (384, 6), (768, 12), (1024, 16), (1280, 16), (1664, 16)]
)
def test_heads_of_the_published_widths(width: int, heads: int, open_vit: Callable[..., Any]) -> None:
    """Widths of 1280 and above have 16 heads, not one for 64 channels."""
    config = CONFIG.model_copy(update={"width": width, "num_heads": heads, "depth": 1, "mlp_dim": 8})
    assert open_vit(ViT(config).state_dict())[1].config.num_heads == heads


def test_the_json_counts_the_heads(open_vit: Callable[..., Any]) -> None:
    state = ViT(CONFIG).state_dict()
    told = {"model_args": {"num_heads": 8}, "pretrained_cfg": {"input_size": [3, 32, 32]}}
    assert open_vit(state, config=told)[1].config.num_heads == 8
    gap = {"architecture": "vit_base_patch16_gap_224", "pretrained_cfg": {"input_size": [3, 32, 32]}}
    assert open_vit(state, config=gap)[1].config.num_heads == 16


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("blocks.0.ls1.gamma", "LayerScale"),
        ("blocks.1.gamma_1", "LayerScale"),
        ("blocks.0.attn.relative_position_bias_table", "relative positions"),
        ("rel_pos_bias.relative_position_bias_table", "relative positions"),
        ("reg_token", "register tokens"),
        ("register_tokens", "register tokens"),
        ("blocks.0.mlp.w12.weight", "SwiGLU"),
        ("blocks.0.mlp.fc1_g.weight", "SwiGLU"),
        ("blocks.0.attn.q_norm.weight", "norms queries"),
        ("blocks.0.attn.q_bias", "BEiT"),
        ("attn_pool.latent", "SigLIP"),
        ("rope.freqs", "rotary"),
        ("decoder_blocks.0.norm1.weight", "decoder"),
        ("blocks_token_only.0.norm1.weight", "CaiT"),
        ("blocks.0.attns.0.qkv.weight", "parallel"),
    ],
)
def test_relatives_are_refused_by_their_key(key: str, part: str, open_vit: Callable[..., Any]) -> None:
    state = ViT(CONFIG).state_dict() | {key: torch.zeros(4)}
    with pytest.raises(CheckpointError, match=part) as refused:
        open_vit(state)
    assert key in str(refused.value)


def _without(key: str) -> dict[str, Tensor]:
    return {name: value for name, value in ViT(CONFIG).state_dict().items() if name != key}


@pytest.mark.parametrize(
    ("state", "told", "message"),
    [
        (_without("blocks.0.attn.qkv.bias"), None, "1 missing keys .*qkv.bias"),
        (_without("") | {"odd.weight": torch.zeros(1)}, None, "without a place .*odd.weight"),
        (_without("pos_embed"), None, "pos_embed is missing"),
        (_without("") | {"pos_embed": torch.zeros(1, 16, 128)}, None, "no_embed_class"),
        (_without("") | {"pos_embed": torch.zeros(1, 12, 128)}, None, "no square of patches"),
        (_without("") | {"pos_embed": torch.zeros(17, 128)}, None, "pos_embed has the shape"),
        (
            _without("") | {"patch_embed.proj.weight": torch.zeros(128, 1, 8, 8)},
            None,
            "patches of 1 channels",
        ),
        (_without("") | {"patch_embed.backbone.conv1.weight": torch.zeros(4)}, None, "no BiT stem"),
        (_without("") | {"blocks.3.norm1.weight": torch.zeros(128)}, None, "layer 2 is missing"),
        (_without(""), {"architecture": "vit_base_patch16_siglip_224"}, "SigLIP"),
        (_without(""), {"global_pool": "map"}, "global_pool is 'map'"),
        (_without(""), {"model_args": {"act_layer": "relu"}}, "act_layer is 'relu'"),
        (_without(""), {"model_args": {"num_heads": 3}}, "num_heads"),
        (_without(""), {"model_args": [3]}, "model_args"),
        (_without(""), {"pretrained_cfg": {"input_size": [3, 224, 224]}}, "224 pixels, .* 4 by 4 patches"),
        (
            _without("") | {"fc_norm.weight": torch.zeros(128)},
            {"model_args": {"global_pool": "token"}},
            "fc_norm.weight",
        ),
    ],
)
def test_what_is_not_held_is_refused(
    state: dict[str, Tensor], told: dict[str, Any] | None, message: str, open_vit: Callable[..., Any]
) -> None:
    sides = {} if told is None else {"config": {"pretrained_cfg": {"input_size": [3, 32, 32]}} | told}
    with pytest.raises(CheckpointError, match=message):
        open_vit(state, **sides)


def test_an_odd_width_needs_json(open_vit: Callable[..., Any]) -> None:
    state = ViT(CONFIG.model_copy(update={"width": 40, "num_heads": 5})).state_dict()
    with pytest.raises(CheckpointError, match="how many heads"):
        open_vit(state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": "2d"},
        {"position_at": "every"},
        {"stem": (8, 8, 8)},
        {"bit_stem": (1,)},
        {"bit_stem": (), "bit_width": 32},
        {"bit_stem": (), "bit_epsilon": "outside"},
        {"representation_dim": 8},
        {"patch_bias": False},
        {"layer_norm_eps": 1e-12},
        {"distilled": True, "pre_norm": True, "patch_bias": False, "layer_norm_eps": 1e-5},
    ],
)
def test_what_timm_cannot_hold_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="timm has no"):
        TIMM.checks(CONFIG.model_copy(update=wrong))


def test_dialects_have_names_of_their_own() -> None:
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)
    assert {dialect.architecture for dialect in DIALECTS} == {"vit"}


def test_limners_own_stem_is_no_timm_file(weights_of: Callable[..., Any]) -> None:
    state = ViT(CONFIG.model_copy(update={"stem": (8, 8)})).state_dict()
    assert not any(dialect.recognises(weights_of(state)) for dialect in DIALECTS)
