import json
from pathlib import Path

import pytest
import torch

from limner.models import build, canonical
from limner.models.clip import CLIPConfig
from limner.models.clip_variants import VARIANTS
from limner.models.vit_config import ViTConfig

OPENAI = {  # visual parameters, papers.md 3.1; the whole models are counted in test_models
    "clip_rn50": 38_316_896,
    "clip_rn101": 56_259_936,
    "clip_rn50x4": 87_137_080,
    "clip_rn50x16": 167_328_912,
    "clip_rn50x64": 420_380_352,
    "clip_vit_b32": 87_849_216,
    "clip_vit_b16": 86_192_640,
    "clip_vit_l14": 303_966_208,
    "clip_vit_l14_336": 304_293_888,
}
NOT_PLAIN = ("CLIPA", "worldwide", "ViT-M-16-alt")  # other pooling, other vocabularies, layer scale


def configs() -> dict[str, dict]:
    """open_clip's models of plain CLIP towers, by its names."""
    import open_clip

    folder = Path(open_clip.__file__).parent / "model_configs"
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    return {
        name: config
        for name, config in found.items()
        if "timm_model_name" not in config["vision_cfg"]
        and "hf_model_name" not in config["text_cfg"]
        and "multimodal_cfg" not in config
        and not any(word in name for word in NOT_PLAIN)
    }


def activations(config: CLIPConfig) -> set[str]:
    vision = {config.vision.activation} if isinstance(config.vision, ViTConfig) else set()
    return vision | {config.text.activation}


@pytest.mark.parametrize("name", OPENAI)
def test_openais_towers_have_their_size(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    count = sum(p.numel() for p in model.vision.parameters())
    if model.vision_proj is not None:
        count += model.vision_proj.weight.numel()
    assert count == OPENAI[name]
    assert activations(model.config) == {"quick_gelu"}


def test_names_tell_the_activation() -> None:
    """Trap 42: open_clip's "ViT-B-32" is exact GELU, OpenAI's "ViT-B/32" is not."""
    for given, name in (
        ("ViT-B/32", "clip_vit_b32"),
        ("ViT-B-32-quickgelu", "clip_vit_b32"),
        ("openai/clip-vit-base-patch32", "clip_vit_b32"),
        ("ViT-B-32", "clip_vit_b32_gelu"),
        ("ViT-L/14@336px", "clip_vit_l14_336"),
        ("ViT-L-14-336", "clip_vit_l14_336_gelu"),
        ("ViT-H-14", "clip_vit_h14"),
        ("ViT-H-14-quickgelu", "clip_vit_h14_quickgelu"),
    ):
        assert canonical(given) == name
    for name, line in VARIANTS.items():
        quick = name in OPENAI or name.endswith("_quickgelu")
        assert activations(line.config) == {"quick_gelu" if quick else "gelu"}


@pytest.mark.parametrize(("name", "head_width"), [("h14", 80), ("g14", 88), ("bigg14", 104), ("e14", 112)])
def test_large_towers_have_wider_heads(name: str, head_width: int) -> None:
    vision = VARIANTS[f"clip_vit_{name}"].config.vision
    assert vision.width // vision.num_heads == head_width


@pytest.mark.peer
def test_every_plain_model_of_open_clip_is_here() -> None:
    """By its own name; RN50 and its kin with QuickGELU, as all weights published under these names."""
    for name, theirs in configs().items():
        line = VARIANTS[canonical(name)]
        vision, text = line.config.vision, line.config.text
        quick = theirs.get("quick_gelu", False) or name.startswith("RN")
        assert activations(line.config) == {"quick_gelu" if quick else "gelu"}
        said = theirs["vision_cfg"]
        assert (vision.image_size, vision.width) == (said["image_size"], said["width"])
        if isinstance(vision, ViTConfig):
            assert (vision.depth, vision.patch_size) == (said["layers"], said["patch_size"])
            assert vision.width // vision.num_heads == said.get("head_width", 64)
            assert vision.mlp_dim == int(vision.width * said.get("mlp_ratio", 4))
        else:
            assert list(vision.depths) == said["layers"]
        told = theirs["text_cfg"]
        assert (text.width, text.num_heads, text.depth) == (told["width"], told["heads"], told["layers"])
        assert line.config.embed_dim == theirs["embed_dim"]
    assert {canonical(name) for name in configs()} == set(VARIANTS)


@pytest.mark.peer
@pytest.mark.parametrize("name", [n for n in VARIANTS if "e14" not in n])
def test_sizes_are_open_clips(name: str) -> None:
    from open_clip.model import CLIP

    alias = next(a for a in reversed(VARIANTS[name].aliases) if a in configs())
    with torch.device("meta"):
        ours, theirs = build(name), CLIP(**configs()[alias])
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
