"""Parts that several papers use unchanged: attention, pre-norm block, stochastic depth, initial weights."""

from collections.abc import Callable
from typing import Literal

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
    batch, tokens, size = x.shape
    head = size // (parts * num_heads)
    return x.view(batch, tokens, parts, num_heads, head).permute(2, 0, 3, 1, 4).unbind(0)


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
    learning = torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value))
    if learning and query.device.type == "cpu" and query.dtype is not torch.float32:
        return _attend_half(query, key, value, mask, causal, dropout)
    heads = F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)
    return heads.transpose(1, 2).flatten(2)


_FEW_QUERIES = 32


def _attend_half(
    query: Float[Tensor, "b h t f"],
    key: Float[Tensor, "b h n f"],
    value: Float[Tensor, "b h n f"],
    mask: Bool[Tensor, "#b 1 #t n"] | None,
    causal: bool,
    dropout: float,
) -> Float[Tensor, "b t d"]:
    """Half precision on CPU with a gradient, where torch's own kernel is ten times too slow.

    Few queries are read by the fp32 kernel; many by plain products in half precision around an fp32 softmax.
    """
    with torch.autocast("cpu", enabled=False):
        if query.shape[2] < _FEW_QUERIES:
            wide = attend(query.float(), key.float(), value.float(), mask, causal=causal, dropout=dropout)
            return wide.to(query.dtype)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()[None, None]
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        shares = F.dropout(scores.softmax(-1, dtype=torch.float32).to(value.dtype), dropout)
        return (shares @ value).transpose(1, 2).flatten(2)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), OpenAI's stand-in for GELU; up to .02 away from it."""

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Return the activated values."""
        return x * torch.sigmoid(1.702 * x)


def gelu_tanh() -> nn.GELU:
    """GELU by its tanh formula, as Google's code has it; up to 4.7e-4 away from the exact one."""
    return nn.GELU(approximate="tanh")


Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": QuickGELU,
}


_WHOLE_VECTOR = 16  # fp32 numbers in the widest vector of a CPU


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        width: of a token.
        num_heads: heads; divides `width`.
        causal: a token sees itself and those before it.
        dropout: probability of dropping an output, [0, 1); never on queries, keys and values.
    """

    def __init__(self, width: int, num_heads: int, *, causal: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.causal = num_heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the attended tokens."""
        tokens, packed = x.shape[1], self.qkv(x)
        spare = -tokens % _WHOLE_VECTOR if self.causal else 0
        if spare:  # a CPU adds up whole vectors of keys: so a token's bits do not hang on what follows it
            packed = F.pad(packed, (0, 0, 0, spare))
        seen = attend(*split_heads(packed, 3, self.num_heads), causal=self.causal)
        out: Tensor = self.dropout(self.proj(seen[:, :tokens].contiguous()))
        return out


class MLP(nn.Module):
    """Linear, activation, Linear, on each token alone.

    Args:
        width: of a token.
        mlp_dim: hidden width.
        activation: a key of `ACTIVATIONS`.
        dropout: probability of dropping a hidden value or an output, [0, 1).
    """

    def __init__(
        self, width: int, mlp_dim: int, activation: Activation = "gelu", *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, mlp_dim)
        self.act = ACTIVATIONS[activation]()
        self.fc2 = nn.Linear(mlp_dim, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the transformed tokens."""
        hidden = self.dropout(self.act(self.fc1(x)))
        out: Tensor = self.dropout(self.fc2(hidden))
        return out


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to its input.

    Args:
        width: of a token.
        num_heads: heads of the attention; divides `width`.
        mlp_dim: hidden width of the MLP.
        layer_norm_eps: of both layer norms.
        activation: a key of `ACTIVATIONS`.
        drop_path: probability of dropping either branch, [0, 1).
        causal: a token sees itself and those before it.
        dropout: after each dense layer but the first of the attention, [0, 1).
    Source: Dosovitskiy et al. 2020, equations 2 and 3; also the blocks of both towers of CLIP.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_dim: int,
        layer_norm_eps: float = 1e-6,
        activation: Activation = "gelu",
        drop_path: float = 0.0,
        *,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, layer_norm_eps)
        self.attn: nn.Module = Attention(width, num_heads, causal=causal, dropout=dropout)
        self.norm2 = nn.LayerNorm(width, layer_norm_eps)
        self.mlp = MLP(width, mlp_dim, activation, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the tokens after both branches."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


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
