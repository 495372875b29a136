import math
from functools import partial, reduce
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.vit import RelativeAttention, ViT, ViTConfig, new_head

SMALL = ViTConfig(image_size=32, patch_size=8, width=24, depth=3, num_heads=3, mlp_dim=40, num_classes=7)


def small(**change: object) -> ViTConfig:
    return ViTConfig.model_validate(SMALL.model_dump() | change)


@torch.no_grad()
def stir(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            module.weight.add_(1.0)


def stirred(**change: object) -> ViT:
    model = ViT(small(**change)).eval()
    stir(model)
    return model


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


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
    model = ViT(small(stem=stem, patch_size=patch_size, stem_blocks=2)).eval()
    assert model(torch.randn(1, 3, 32, 32)).tokens.shape == (1, 1 + (32 // patch_size) ** 2, 24)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 37},
        {"image_size": 37, "stem": (8, 12), "patch_size": 8},
        {"image_size": 45, "bit_stem": (1, 1), "bit_width": 32, "patch_size": 16},
    ],
)
def test_odd_sizes_leave_the_last_pixels_out(change: dict[str, Any]) -> None:
    model = ViT(small(**change)).eval()
    side = change["image_size"]
    with torch.no_grad():
        assert model(torch.randn(1, 3, side, side)).tokens.shape[1] == 1 + model.config.num_patches


def test_drop_path_rises_to_its_rate() -> None:
    model = ViT(small(drop_path=0.2))
    assert [block.drop_path.probability for block in model.blocks] == pytest.approx([0, 0.1, 0.2])


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match="40 by 32 pixels") as caught:
        ViT(SMALL)(torch.randn(1, 3, 32, 40))
    assert "with_image_size" in caught.value.hint


def test_pools_take_what_they_say() -> None:
    pixels = torch.randn(2, 3, 32, 32)
    mean = stirred(pool="gap")
    tokens, pooled, logits = mean(pixels)
    torch.testing.assert_close(pooled, tokens[:, 1:].mean(1))
    torch.testing.assert_close(logits, mean.head(pooled))
    after = stirred(pool="gap_norm")
    tokens, pooled, _ = after(pixels)
    torch.testing.assert_close(pooled, after.fc_norm(tokens[:, 1:].mean(1)))
    hidden = stirred(representation_dim=11, num_classes=0)
    tokens, pooled, logits = hidden(pixels)
    torch.testing.assert_close(pooled, torch.tanh(hidden.pre_logits.fc(tokens[:, 0])))
    assert logits.shape == (2, 0)


@pytest.mark.parametrize("training", [False, True])
def test_distilled_averages_both_heads(training: bool) -> None:
    model = stirred(distilled=True).train(training)
    tokens, _, logits = model(torch.randn(2, 3, 32, 32))
    assert tokens.shape[1] == 2 + 16
    assert_near(logits, (model.head(tokens[:, 0]) + model.head_dist(tokens[:, 1])) / 2)


def test_two_axes_are_concatenated_and_leave_the_class_token_alone() -> None:
    model = stirred(position="2d")
    table = model.positions()
    assert table.shape == (1, 17, 24)
    assert not table[:, 0].any()
    for row in range(4):
        for column in range(4):
            want = torch.cat([model.pos_embed_x[0, column], model.pos_embed_y[0, row]])
            assert torch.equal(table[0, 1 + 4 * row + column], want)


@pytest.mark.parametrize("position", ["1d", "2d"])
@pytest.mark.parametrize(("place", "tables"), [("stem", 1), ("every", 3), ("shared", 1)])
def test_positions_are_added_where_they_should_be(position: str, place: str, tables: int) -> None:
    model = stirred(position=position, position_at=place)
    table, pixels = model.positions(), torch.randn(2, 3, 32, 32)
    assert len(table) == tables
    patches = model.patch_embed(pixels)
    x = torch.cat([model.cls_token.expand(2, -1, -1), patches], 1)
    for number, block in enumerate(model.blocks):
        added = {"stem": None if number else table[0], "every": table[number % tables], "shared": table[0]}
        x = block(x if added[place] is None else x + added[place])
    torch.testing.assert_close(model(pixels).tokens, model.norm(x))


def test_without_positions_a_shuffled_picture_reads_the_same() -> None:
    blind, seeing = stirred(position="none"), stirred()
    patches = torch.randn(1, 16, 24)
    shuffled = patches[:, torch.randperm(16)]
    assert blind.positions() is None
    torch.testing.assert_close(blind.encode(patches)[:, 0], blind.encode(shuffled)[:, 0])
    assert (seeing.encode(patches)[:, 0] - seeing.encode(shuffled)[:, 0]).abs().max() > 1e-3


def test_relative_attention_equals_the_definition() -> None:
    attention = RelativeAttention(small(position="relative", image_size=24))  # 9 patches
    stir(attention)
    x = torch.randn(2, 10, 24)
    query, key, value = attention.qkv(x).view(2, 10, 3, 3, 8).unbind(2)
    out = torch.empty(2, 10, 3, 8)
    for b in range(2):
        for h in range(3):
            for i in range(10):
                logits = [query[b, i, h].dot(key[b, j, h]) for j in range(10)]
                for j in range(1, 10) if i else ():
                    logits[j] = logits[j] + query[b, i, h].dot(attention.offsets[(i - j) + 8])
                weights = (torch.stack(logits) / math.sqrt(8)).softmax(0)
                out[b, i, h] = weights @ value[b, :, h]
    torch.testing.assert_close(attention(x), attention.proj(out.flatten(2)))


def test_every_block_has_its_own_offsets() -> None:
    model = stirred(position="relative")
    assert [tuple(block.attn.offsets.shape) for block in model.blocks] == [(31, 8)] * 3
    assert "pos_embed" not in model.state_dict()


def test_epsilon_of_the_norms_is_the_config_s() -> None:
    outputs = []
    for eps in (1e-12, 1e-6, 1e-5):
        torch.manual_seed(0)
        model = stirred(layer_norm_eps=eps, pre_norm=True)
        assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {eps}
        faint = torch.randn(1, 16, 24, generator=torch.Generator().manual_seed(1)) * 1e-3
        with torch.no_grad():
            model.cls_token.zero_()
            model.pos_embed.zero_()
            outputs.append(model.encode(faint))
    for first, second in ((0, 1), (1, 2)):
        assert (outputs[first] - outputs[second]).abs().max() > 0.01


def test_dropout_is_after_every_dense_layer_but_qkv_and_after_the_positions() -> None:
    model = ViT(small(dropout=0.25))
    calls: list[nn.Module] = []
    drops = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for drop in drops:
        drop.register_forward_hook(lambda module, _, __: calls.append(module))
    model(torch.randn(1, 3, 32, 32))
    assert {drop.p for drop in drops} == {0.25}
    assert calls[0] is model.dropout
    assert calls[1:] == [
        drop for block in model.blocks for drop in (block.attn.dropout, block.mlp.dropout, block.mlp.dropout)
    ]
    attention, x = model.blocks[0].attn, torch.randn(1, 17, 24)
    nn.init.eye_(attention.proj.weight)
    dropped = attention(x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], (attention.eval()(x) / 0.75)[kept])
    assert 0.15 < 1 - kept.float().mean() < 0.35


@pytest.mark.parametrize("distilled", [False, True])
def test_new_head_starts_at_ln_k(distilled: bool) -> None:
    old = {"distilled": True} if distilled else {"representation_dim": 11}
    model = stirred(**old)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fresh = new_head(model, 10)
    logits = fresh(torch.randn(4, 3, 32, 32)).logits
    assert not logits.any()
    loss = F.cross_entropy(logits, torch.arange(4))
    assert loss.item() == pytest.approx(math.log(10), rel=1e-7)
    assert fresh.config == small(num_classes=10, distilled=distilled)
    assert set(fresh.state_dict()) == set(ViT(fresh.config).state_dict())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(fresh.pos_embed, model.pos_embed)
    assert fresh.pos_embed.data_ptr() != model.pos_embed.data_ptr()


def test_new_head_keeps_dtype_and_may_be_none() -> None:
    assert new_head(stirred().bfloat16(), 3).head.weight.dtype is torch.bfloat16
    assert new_head(stirred(), 0)(torch.randn(1, 3, 32, 32)).logits.shape == (1, 0)


def squares(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise with one square of one of eight colours somewhere, and which."""
    colour = torch.randint(8, (count,), generator=generator)
    pixels = torch.rand(count, 3, 4, 8, 4, 8, generator=generator) - 0.5
    row, column = torch.randint(4, (2, count), generator=generator)
    channels = (colour[:, None] >> torch.arange(3)) % 2 - 0.5
    pixels[torch.arange(count), :, row, :, column] += channels[:, :, None, None]
    return pixels.reshape(count, 3, 32, 32), colour


def accuracy(pool: str, lr: float) -> float:
    """Share of right answers on unseen squares after a short training."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model = ViT(small(width=32, num_heads=2, depth=2, num_classes=8, pool=pool, class_token=pool == "token"))
    optimiser = torch.optim.AdamW(model.parameters(), lr)
    for _ in range(120):
        pixels, colour = squares(32, generator)
        loss = F.cross_entropy(model(pixels).logits, colour)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pixels, colour = squares(256, generator)
    with torch.no_grad():
        right = model.eval()(pixels).logits.argmax(1) == colour
    return right.float().mean().item()


@pytest.mark.slow
def test_class_token_and_mean_are_equal_at_their_own_rates_not_at_one() -> None:
    rates = (3e-4, 1e-3, 3e-3)
    token, gap = ([accuracy(pool, lr) for lr in rates] for pool in ("token", "gap"))
    assert max(abs(a - b) for a, b in zip(token, gap, strict=True)) > 0.15
    assert abs(max(token) - max(gap)) < 0.05
    assert min(max(token), max(gap)) > 0.9


TIMM: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "odd size": ({"image_size": 45}, {"img_size": 45}),
    "no class token": ({"class_token": False, "pool": "gap"}, {"class_token": False, "fc_norm": False}),
    "averaged": ({"pool": "gap_norm"}, {}),
    "averaged after the norm": ({"pool": "gap"}, {"fc_norm": False}),
    "pre norm": ({"pre_norm": True, "patch_bias": False, "layer_norm_eps": 1e-5}, {"pre_norm": True}),
    "quick": ({"activation": "quick_gelu"}, {"act_layer": "quick_gelu"}),
    "tanh": ({"activation": "gelu_tanh"}, {"act_layer": "gelu_tanh"}),
    "distilled": ({"distilled": True}, {}),
}


@pytest.mark.peer
@pytest.mark.parametrize("name", TIMM)
def test_numbers_are_timms(name: str) -> None:
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    change, their = TIMM[name]
    config = small(**change)
    build = VisionTransformerDistilled if config.distilled else VisionTransformer
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 7}
    pool = {} if config.distilled else {"global_pool": "token" if config.pool == "token" else "avg"}
    norm = {"norm_layer": partial(nn.LayerNorm, eps=config.layer_norm_eps)}
    theirs = build(**(sizes | {"mlp_ratio": 40 / 24} | pool | norm | their)).eval()
    stir(theirs)
    ours = ViT(config).eval()
    ours.load_state_dict(theirs.state_dict())
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, config.image_size, config.image_size)
        with torch.no_grad():
            output = ours(pixels)
            assert_near(output.tokens, theirs.forward_features(pixels))
            assert_near(output.logits, theirs(pixels))


@pytest.mark.parametrize(("first", "second"), [("gelu", "gelu_tanh"), ("gelu_tanh", "quick_gelu")])
def test_activations_are_not_within_parity_of_each_other(first: str, second: str) -> None:
    model, other = stirred(activation=first), stirred(activation=second)
    other.load_state_dict(model.state_dict())
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        one, two = model(pixels).logits, other(pixels).logits
    assert (one - two).abs().max() > 5e-5 * two.abs().max()


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
    "heads.pre_logits": "pre_logits.fc",
}


@pytest.mark.peer
@pytest.mark.parametrize("representation_dim", [0, 11])
def test_numbers_are_torchvisions(representation_dim: int) -> None:
    from torchvision.models import VisionTransformer

    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 3, "num_heads": 3, "hidden_dim": 24}
    theirs = VisionTransformer(
        **sizes, mlp_dim=40, num_classes=7, representation_size=representation_dim or None
    ).eval()
    stir(theirs)
    state = {
        reduce(lambda key, names: key.replace(*names), TORCHVISION_KEYS.items(), key): value
        for key, value in theirs.state_dict().items()
    }
    ours = ViT(small(representation_dim=representation_dim)).eval()
    ours.load_state_dict(state)
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            assert_near(ours(pixels).logits, theirs(pixels))
