"""An image encoder that reads fewer tokens: alike ones are merged in every block, without training.

Implements: token merging (Bolya et al. 2023, arXiv 2210.09461, section 3): bipartite soft matching by keys,
    the mean weighted by what each token stands for, attention in proportion to it.
Differs from the paper: nothing is merged into the class token, and nothing is trained.
Checked against: a loop over the tokens of one picture; the encoder itself where nothing is merged.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import ConfigError
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA
from limner.models.layers import Attention, Block, split_heads

Reader = BLIP | BLIPVQA


class Merged(NamedTuple):
    """Tokens, and how many patches each stands for.

    Args:
        tokens: the class token first.
        sizes: ≥ 1.
    """

    tokens: Float[Tensor, "b n d"]
    sizes: Float[Tensor, "b n"]


def with_merging(model: Reader, each: int) -> Reader:
    """Return a model that merges tokens of its pictures; it shares every weight with the one given.

    Args:
        model: in eval mode.
        each: tokens that go in every block of the image encoder, half of its patches at most; where an
            earlier block has left fewer, as many as there are.
    Raises: ConfigError when its image encoder is no plain ViT, or no block can lose so many.
    """
    config = model.vision.config
    plain = all(
        isinstance(block, Block) and isinstance(block.attn, Attention) for block in model.vision.blocks
    )
    given = f"merging {each} tokens in each block of {type(model.vision).__name__}"
    if not plain or config.position_at == "every" or config.prefix_tokens != 1:
        raise ConfigError(given, wanted="a ViT with one class token and plain attention", hint="--merge 0")
    most = config.num_patches // 2
    if not 1 <= each <= most:
        raise ConfigError(
            given,
            wanted=f"1 to {most}: of {config.num_patches} patches, half can go at once",
            hint=f"--merge {most if each > most else 1}, or --merge 0 for none",
        )
    whole = {id(part): part for part in (*model.parameters(), *model.buffers())}
    made = copy.deepcopy(model, whole)
    made.vision.blocks = MergingBlocks(made.vision.blocks, each)
    return made.eval()


class MergingBlocks(nn.Sequential):
    """Blocks of a ViT, each of which leaves fewer tokens.

    Args:
        blocks: with plain attention.
        each: tokens that go in every block.
    """

    def __init__(self, blocks: nn.Sequential, each: int) -> None:
        super().__init__(*blocks)
        self.each = each

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b m d"]:
        """Return the tokens that are left, m = n − blocks · each, the class token first."""
        merged = Merged(x, x.new_ones(x.shape[:2]))
        for block in self:
            assert isinstance(block, Block)
            merged = _read(block, merged, self.each)
        return merged.tokens


def _read(block: Block, merged: Merged, each: int) -> Merged:
    """One block, and its merging between attention and MLP."""
    attention = block.attn
    assert isinstance(attention, Attention)
    x, sizes = merged
    query, key, value = split_heads(attention.qkv(block.norm1(x)), 3, attention.num_heads)
    more = sizes.log()[:, None, None].to(x.dtype)  # a token that stands for two patches is looked at twice
    seen = F.scaled_dot_product_attention(query, key, value, more)
    x = x + attention.proj(seen.transpose(1, 2).flatten(2))
    x, sizes = merge(Merged(x, sizes), key.mean(1), each)
    return Merged(x + block.mlp(block.norm2(x)), sizes)


def merge(merged: Merged, keys: Float[Tensor, "b n f"], count: int) -> Merged:
    """Merge the tokens that are most alike.

    Every other token, the class token first, may go into the one of the rest whose key points most its way;
    the `count` closest do, all at once. The class token never goes.

    Args:
        merged: n tokens a picture.
        keys: tell how alike two tokens are, by their cosine.
        count: of tokens that go.
    Returns: what is left, those that might have gone first, both kinds in the order they stood.
    """
    keys = F.normalize(keys.float(), dim=-1)
    alike = keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)
    alike[:, 0] = -torch.inf
    best, partner = alike.max(-1)
    order = best.argsort(dim=1, descending=True, stable=True)
    count = min(count, order.shape[1] - 1)
    if not count:
        return merged
    gone, kept = order[:, :count], order[:, count:].sort(1).values
    into = partner.gather(1, gone)

    def sums(values: Float[Tensor, "b n c"]) -> Float[Tensor, "b m c"]:
        width = (-1, -1, values.shape[-1])
        moving, staying = values[:, ::2], values[:, 1::2]
        leaving = moving.gather(1, gone[..., None].expand(width))
        full = staying.scatter_add(1, into[..., None].expand(width), leaving)
        return torch.cat([moving.gather(1, kept[..., None].expand(width)), full], 1)

    sizes = merged.sizes[..., None]
    weights = sums(sizes)
    return Merged(
        sums(merged.tokens * sizes.to(merged.tokens.dtype)) / weights.to(merged.tokens.dtype), weights[..., 0]
    )
