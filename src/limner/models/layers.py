"""Parts that three papers use unchanged: heads, fused attention, stochastic depth, initial weights."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


def split_heads(x: Float[Tensor, "b n s"], parts: int, num_heads: int) -> tuple[Tensor, ...]:
    """Cut packed projections into heads, as views.

    Args:
        x: `parts` projections side by side, each h-major; s = parts · num_heads · f.
        parts: 1 for queries, 2 for keys and values, 3 for all.
        num_heads: heads of each part.
    Returns: `parts` tensors "b h n f".
    """
    batch, tokens, _ = x.shape
    return x.view(batch, tokens, parts, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def attend(
    query: Float[Tensor, "b h t f"],
    key: Float[Tensor, "b h n f"],
    value: Float[Tensor, "b h n f"],
    mask: Bool[Tensor, "#b 1 #t n"] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Float[Tensor, "b t d"]:
    """Scaled dot-product attention with the heads joined again.

    Args:
        query: one row a query token.
        key: one row a token looked at.
        value: what is read there.
        mask: True where a query may look; None means everywhere.
        causal: query i sees keys 0..i; not together with `mask`.
        dropout: probability of dropping an attention weight, [0, 1).
    Returns: d = h · f.
    Source: Vaswani et al. 2017, equation 1.
    """
    if query.device.type == "cpu" and query.dtype is not torch.float32:
        # The gradient of torch's bfloat16 kernel is ten times slower than that of the fp32 kernel on CPU.
        with torch.autocast("cpu", enabled=False):
            wide = attend(query.float(), key.float(), value.float(), mask, causal=causal, dropout=dropout)
        return wide.to(query.dtype)
    heads = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)
    return heads.transpose(1, 2).flatten(2)


class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training, and scale the survivors up.

    Args:
        probability: of dropping a branch, [0, 1).
    Source: Huang et al. 2016, stochastic depth.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Return `x` with some rows zeroed; `x` itself when not training."""
        if not self.training or self.probability == 0.0:
            return x
        kept = 1.0 - self.probability
        alive = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) < kept
        return x * (alive / kept).to(x.dtype)


def init_transformer(module: nn.Module, std: float) -> None:
    """Set a Linear or Embedding to truncated normal weights and zero bias; leave other modules alone.

    Args:
        module: pass to `nn.Module.apply` through a lambda or `functools.partial`.
        std: of the weights; .02 in BERT, ViT and BLIP.
    """
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.trunc_normal_(module.weight, std=std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
