"""Token merging against a loop over the tokens of one picture, and against the encoder itself."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ConfigError
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA
from limner.models.merging import Merged, MergingBlocks, merge, with_merging
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig


def by_loop(tokens: Tensor, sizes: Tensor, keys: Tensor, count: int) -> tuple[list[Tensor], list[float]]:
    """One picture, token by token: who goes, and into whom."""
    keys = F.normalize(keys, dim=-1)
    left, right = range(0, len(tokens), 2), range(1, len(tokens), 2)
    wish = {a: max(right, key=lambda b: float(keys[a] @ keys[b])) for a in left if a}
    eager = sorted(wish, key=lambda a: -float(keys[a] @ keys[wish[a]]))[:count]
    found = [(tokens[a], float(sizes[a])) for a in left if a not in eager]
    for b in right:
        group = [b, *(a for a in eager if wish[a] == b)]
        weight = sum(float(sizes[i]) for i in group)
        found.append((sum(tokens[i] * sizes[i] for i in group) / weight, weight))
    return [token for token, _ in found], [weight for _, weight in found]


@pytest.mark.parametrize(("tokens", "count"), [(9, 2), (10, 3), (17, 99), (2, 1)])
def test_merging_is_the_loop_over_tokens(tokens: int, count: int) -> None:
    torch.manual_seed(tokens)
    x, keys, sizes = (
        torch.randn(3, tokens, 5),
        torch.randn(3, tokens, 4),
        torch.randint(1, 4, (3, tokens)).float(),
    )
    if tokens == 1:
        keys, x = keys[:, :1], x[:, :1]
        assert torch.equal(merge(Merged(x, sizes), keys, 0).tokens, x)
        return
    found = merge(Merged(x, sizes), keys, count)
    for row in range(3):
        want, weights = by_loop(x[row], sizes[row], keys[row], count)
        torch.testing.assert_close(found.tokens[row], torch.stack(want))
        assert found.sizes[row].tolist() == weights
    torch.testing.assert_close(found.tokens[:, 0], x[:, 0])
    torch.testing.assert_close((found.tokens * found.sizes[..., None]).sum(1), (x * sizes[..., None]).sum(1))


@torch.no_grad()
def test_blocks_that_merge_nothing_are_the_blocks() -> None:
    vit = ViT(ViTConfig(image_size=16, patch_size=4, depth=3, width=16, num_heads=2, mlp_dim=32)).eval()
    x = torch.randn(2, 17, 16)
    torch.testing.assert_close(MergingBlocks(vit.blocks, 0)(x), vit.blocks(x))


@torch.no_grad()
def test_equal_tokens_merge_without_a_trace() -> None:
    """Two patches that are the same stand for two in attention, so the class token does not notice."""
    torch.manual_seed(0)
    config = ViTConfig(image_size=16, patch_size=4, depth=1, width=16, num_heads=2, mlp_dim=32)
    blocks = ViT(config).eval().blocks
    one = torch.randn(1, 1, 16)
    x = torch.cat([torch.randn(1, 1, 16), one.expand(1, 8, 16)], 1)
    twice = MergingBlocks(torch.nn.Sequential(*blocks, *blocks), 3)(x)
    assert twice.shape == (1, 4, 16)
    torch.testing.assert_close(twice[:, 0], blocks(blocks(x))[:, 0])


@torch.no_grad()
def test_a_blip_keeps_its_weights_and_loses_tokens(small_blip: Callable[..., BLIP]) -> None:
    model = small_blip()
    pixels = torch.randn(3, 3, model.config.vision.image_size, model.config.vision.image_size)
    quick = with_merging(model, 1)
    whole, fewer = model.encode_image(pixels), quick.encode_image(pixels)
    assert fewer.shape[1] == whole.shape[1] - model.config.vision.depth
    assert all(one is other for one, other in zip(model.parameters(), quick.parameters(), strict=True))
    assert not isinstance(model.vision.blocks, MergingBlocks)
    assert list(quick.state_dict()) == list(model.state_dict())
    alone = torch.cat([quick.encode_image(picture[None]) for picture in pixels])
    torch.testing.assert_close(alone, fewer)


def test_a_question_answerer_merges_too(small_vqa: BLIPVQA) -> None:
    assert isinstance(with_merging(small_vqa, 2).vision.blocks, MergingBlocks)


@pytest.mark.parametrize(("each", "instead"), [(0, 1), (-1, 1), (9, 8)])
def test_no_block_merges_nothing_or_more_than_half(
    small_blip: Callable[..., BLIP], each: int, instead: int
) -> None:
    with pytest.raises(ConfigError, match=f"merging {each} tokens") as caught:
        with_merging(small_blip(), each)
    assert caught.value.wanted == "1 to 8: of 16 patches, half can go at once"
    assert caught.value.hint == f"--merge {instead}, or --merge 0 for none"
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():  # 17 tokens lose 8, then 9 lose the 4 that may go
        assert with_merging(small_blip(), 8).encode_image(pixels).shape[1] == 5


def test_other_encoders_are_refused(small_blip: Callable[..., BLIP]) -> None:
    model = small_blip()
    model.vision.blocks = torch.nn.Sequential(torch.nn.Identity())
    with pytest.raises(ConfigError, match="plain attention"):
        with_merging(model, 1)
