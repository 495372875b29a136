import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from limner.errors import ShapeError
from limner.models.clip_resnet import AntialiasedBottleneck, AttentionPool, CLIPResNet, CLIPResNetConfig

SMALL = CLIPResNetConfig(depths=(1, 2, 1, 1), width=8, image_size=64, num_heads=4, embed_dim=24)


@torch.no_grad()
def stir(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.uniform_(-0.3, 0.3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.add_(1.0)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.peer
@pytest.mark.parametrize(
    ("depths", "width", "image_size", "num_heads"),
    [((1, 2, 1, 1), 8, 64, 4), ((1, 1, 1, 1), 16, 100, 2), ((2, 1, 1, 2), 8, 32, 1)],
)
def test_numbers_and_keys_are_open_clips(
    depths: tuple[int, int, int, int], width: int, image_size: int, num_heads: int
) -> None:
    from open_clip.modified_resnet import ModifiedResNet

    theirs = stir(ModifiedResNet(list(depths), 24, num_heads, image_size, width))
    config = CLIPResNetConfig(
        depths=depths, width=width, image_size=image_size, num_heads=num_heads, embed_dim=24
    )
    ours = CLIPResNet(config).eval()
    ours.load_state_dict(theirs.state_dict())
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, image_size, image_size)
        with torch.no_grad():
            out, expected = ours(pixels).pooled, theirs(pixels)
        assert ((out - expected).abs().max() / expected.abs().max()).item() <= 1e-5


def test_no_convolution_of_a_stage_strides_and_pools_have_no_key() -> None:
    """Trap 39."""
    model = CLIPResNet(SMALL)
    inside = {
        name: m.stride for name, m in model.named_modules() if name[:5] == "layer" and hasattr(m, "stride")
    }
    convolutions = {s for name, s in inside.items() if isinstance(model.get_submodule(name), nn.Conv2d)}
    pools = [s for name, s in inside.items() if isinstance(model.get_submodule(name), nn.AvgPool2d)]
    assert convolutions == {(1, 1)}
    assert pools == [2, 2, 2]  # in the first block of stages 2 to 4
    shortcuts = {key.split("downsample.")[1] for key in model.state_dict() if "downsample" in key}
    assert {key.split(".")[0] for key in shortcuts} == {"0", "1"}


def test_pooling_comes_before_the_last_convolution_and_the_shortcuts() -> None:
    """Trap 39: a map constant in each 2×2 square loses nothing; a lone pixel is spread, not skipped."""
    block = AntialiasedBottleneck(4, 2, stride=2).eval()
    nn.init.zeros_(block.bn3.weight)  # the branch is silent: the shortcut alone
    seen = block(torch.randn(1, 4, 6, 6).repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert seen.shape == (1, 8, 6, 6)
    lone = torch.zeros(1, 4, 4, 4)
    lone[0, :, 1, 1] = 4.0  # a stride of 2 would step over it
    pooled = torch.zeros(1, 4, 2, 2)
    pooled[0, :, 0, 0] = 1.0
    torch.testing.assert_close(block(lone), block.relu(block.downsample(pooled)))


def test_attention_pool_asks_with_the_mean_alone() -> None:
    """Trap 40, written out: one query, positions on the mean too, a bias each, heads side by side."""
    pool = stir(AttentionPool(6, 8, 2, 5))
    tokens = torch.randn(1, 6, 8)
    rows = torch.cat([tokens[0].mean(0, keepdim=True), tokens[0]]) + pool.positional_embedding
    query, keys, values = pool.q_proj(rows[0]), pool.k_proj(rows), pool.v_proj(rows)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(keys[:, part] @ query[part] / math.sqrt(4), 0)
        heads.append(weights @ values[:, part])
    torch.testing.assert_close(pool(tokens)[0], pool.c_proj(torch.cat(heads)))
    biases = [pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]
    assert len({bias.data_ptr() for bias in biases}) == 3


def test_blocks_start_as_their_shortcuts() -> None:
    model = CLIPResNet(SMALL)
    zeros = {name for name, p in model.named_parameters() if name.endswith("bn3.weight") and not p.any()}
    assert zeros == {
        name for name, _ in model.named_parameters() if ".bn3.weight" in name and "layer" in name
    }
    assert len(zeros) == 5
    std = SMALL.map_channels**-0.5
    for layer in (model.attnpool.q_proj, model.attnpool.k_proj, model.attnpool.v_proj, model.attnpool.c_proj):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)


def test_tokens_are_the_cells_of_the_last_map() -> None:
    out = CLIPResNet(SMALL).eval()(torch.randn(2, 3, 64, 64))
    assert out.tokens.shape == (2, 4, 256)
    assert out.pooled.shape == (2, 24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 3}, "map_channels by num_heads"),
        ({"depths": (1, 0, 1, 1)}, "at least one block"),
        ({"width": 7}, "multiple of 2"),
        ({"image_size": 16}, "greater than or equal to 32"),
    ],
)
def test_impossible_sizes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CLIPResNetConfig.model_validate(SMALL.model_dump() | change)


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match="64 by 64"):
        CLIPResNet(SMALL)(torch.randn(1, 3, 96, 96))
