from functools import reduce

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from limner.models import MODELS, build
from limner.models.vit import ViT, ViTConfig

SMALL = ViTConfig(image_size=32, patch_size=8, width=24, depth=3, num_heads=3, mlp_dim=40, num_classes=7)
TIMM = {
    "vit_ti16": "vit_tiny_patch16_224",
    "vit_s16": "vit_small_patch16_224",
    "vit_b16": "vit_base_patch16_224",
    "vit_b32": "vit_base_patch32_224",
    "vit_l16": "vit_large_patch16_224",
}


def stir(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.3, 0.3)


def test_silent_branches_leave_the_normed_embedding() -> None:
    model = ViT(SMALL).eval()
    for block in model.blocks:
        for part in (block.attn.proj, block.mlp.fc2):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    pixels = torch.randn(2, 3, 32, 32)
    patches = model.patch_embed(pixels)
    start = torch.cat([model.cls_token.expand(2, -1, -1), patches], 1) + model.pos_embed
    output = model(pixels)
    torch.testing.assert_close(output.tokens, model.norm(start))
    assert torch.equal(output.pooled, output.tokens[:, 0])


def test_patches_stand_row_by_row() -> None:
    model = ViT(SMALL).eval()
    pixels = torch.zeros(1, 3, 32, 32)
    changed = pixels.clone()
    changed[:, :, 8:16, 16:24] = 1  # second row of patches, third column
    before, after = model.patch_embed(pixels), model.patch_embed(changed)
    assert (before != after).any(-1)[0].nonzero().tolist() == [[6]]


@pytest.mark.parametrize(("stem", "patch_size"), [((8,), 2), ((8, 12, 16), 8), ((8, 12, 16), 16)])
def test_hybrid_has_one_token_a_patch(stem: tuple[int, ...], patch_size: int) -> None:
    config = SMALL.model_copy(update={"stem": stem, "patch_size": patch_size, "stem_blocks": 2})
    tokens = ViT(config).eval()(torch.randn(1, 3, 32, 32)).tokens
    assert tokens.shape == (1, 1 + (32 // patch_size) ** 2, 24)


def test_drop_path_rises_to_its_rate() -> None:
    model = ViT(SMALL.model_copy(update={"drop_path": 0.2}))
    assert [block.drop_path.probability for block in model.blocks] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "width by num_heads: 24 is not divisible by 5"),
        ({"patch_size": 7}, "image_size by patch_size"),
        ({"stem": (4, 4, 4, 4)}, "stem's stride"),
    ],
)
def test_impossible_sizes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ViTConfig.model_validate(SMALL.model_dump() | change)


@pytest.mark.peer
@pytest.mark.parametrize("name", TIMM)
def test_keys_are_timms(name: str) -> None:
    import timm

    assert {n for n in MODELS if n.startswith("vit")} == set(TIMM)
    with torch.device("meta"):
        ours, theirs = build(name).state_dict(), timm.create_model(TIMM[name]).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.peer
def test_numbers_are_timms() -> None:
    from timm.models.vision_transformer import VisionTransformer

    theirs = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, mlp_ratio=40 / 24, num_classes=7
    ).eval()
    stir(theirs)
    ours = ViT(SMALL).eval()
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels).tokens, theirs.forward_features(pixels), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours(pixels).logits, theirs(pixels), atol=1e-5, rtol=1e-5)


TORCHVISION_KEYS = {
    "class_token": "cls_token",
    "conv_proj": "patch_embed.proj",
    "encoder.pos_embedding": "pos_embed",
    "encoder.layers.encoder_layer_": "blocks.",
    "self_attention.in_proj_": "attn.qkv.",
    "self_attention.out_proj": "attn.proj",
    "ln_": "norm",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
    "encoder.ln": "norm",
    "heads.head": "head",
}


@pytest.mark.peer
def test_numbers_are_torchvisions() -> None:
    from torchvision.models import VisionTransformer

    theirs = VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=3, hidden_dim=24, mlp_dim=40, num_classes=7
    ).eval()
    stir(theirs)
    state = {
        reduce(lambda key, names: key.replace(*names), TORCHVISION_KEYS.items(), key): value
        for key, value in theirs.state_dict().items()
    }
    ours = ViT(SMALL).eval()
    ours.load_state_dict(state)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels).logits, theirs(pixels), atol=1e-5, rtol=1e-5)
