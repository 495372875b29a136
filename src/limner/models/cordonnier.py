"""Cordonnier, Loukas, Jaggi 2020, On the Relationship between Self-Attention and Convolutional Layers
(arXiv 1911.03584).

Implements: the classifier of section 4: 2×2 cells of pixels become channels, then layers of attention over
all cells, whose weights come from relative positions: the quadratic encoding (equation 9), a learned one, or
a learned one and content (equation 8). Each head reads whole cells, and one matrix mixes what the heads read.
The layers around it are BERT's: a dense layer, an MLP, a layer norm after each sum.
Differs from the paper: weights that depend on positions alone are the product of a softmax along rows and one
along columns, the same numbers at a fraction of the cost; dropout is on dense layers, never on weights.
Checked against: a softmax over all pairs; a 3×3 convolution, which nine heads express (theorem 1); the sizes
of the paper's first two encodings, 12.1 and 12.3 million.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ShapeError
from limner.models.entry import ModelEntry
from limner.models.layers import MLP, init_transformer, split_heads
from limner.models.resnet_variants import CIFAR


class CordonnierConfig(Config):
    """Sizes of an attention-only classifier.

    Args:
        image_size: longest side of a picture, pixels; `cell` divides every side.
        cell: side of the square of pixels that becomes one token.
        width: of a token.
        depth: layers.
        num_heads: heads of each layer; K² of them can be a K×K convolution.
        mlp_dim: hidden width of each MLP.
        num_classes: outputs of the classifier; 0 for none.
        position: what a weight depends on: "quadratic" the distance from a learned offset, "learned" a value
            for each offset along either axis, "content" such a value and what the two tokens hold.
        dropout: probability of dropping an output of a dense layer, [0, 1).
    """

    image_size: int = Field(default=32, ge=2)
    cell: int = Field(default=2, ge=1)
    width: int = Field(default=400, ge=1)
    depth: int = Field(default=6, ge=1)
    num_heads: int = Field(default=9, ge=1)
    mlp_dim: int = Field(default=512, ge=1)
    num_classes: int = Field(default=10, ge=0)
    position: Literal["quadratic", "learned", "content"] = "quadratic"
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "CordonnierConfig":
        if self.image_size % self.cell:
            raise ValueError(f"image_size {self.image_size} is not divisible by cell {self.cell}")
        return self

    @property
    def grid_size(self) -> int:
        """Tokens along the longest side."""
        return self.image_size // self.cell


class CordonnierOutput(NamedTuple):
    """What the classifier tells of a picture.

    Args:
        tokens: after the last layer norm, row by row.
        pooled: their mean.
        logits: class scores; k = 0 without a classifier.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class QuadraticPositions(nn.Module):
    """Logits -α ‖offset - Δ‖² of each head, as one part for rows and one for columns.

    Args:
        num_heads: heads.
    Source: equation 9, with α half the square of `spreads`.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(2.0 * torch.randn(num_heads, 2))
        self.spreads = nn.Parameter(1.0 + 0.01 * torch.randn(num_heads))

    def forward(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits by row and by column.

        Args:
            rows: "y k", how far below each row each other one is.
            columns: "x l", the same along the other axis.
        Returns: "h y k" and "h x l"; their sum is the logit of a pair.
        """
        alpha = self.spreads.square().view(-1, 1, 1) / 2
        down, right = (center.view(-1, 1, 1) for center in self.centers.unbind(1))
        return -alpha * (rows - down).square(), -alpha * (columns - right).square()


class LearnedPositions(nn.Module):
    """Logits of each head: a value for the rows between and one for the columns between.

    Args:
        num_heads: heads.
        width: of the embedding of an offset.
        grid_size: longest side of the grid, tokens.
    Source: section 4.3, the learned relative encoding.
    """

    def __init__(self, num_heads: int, width: int, grid_size: int) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.row_offsets = nn.Embedding(2 * grid_size - 1, width)
        self.column_offsets = nn.Embedding(2 * grid_size - 1, width)
        self.by_row = nn.Linear(width, num_heads, bias=False)
        self.by_column = nn.Linear(width, num_heads, bias=False)

    def forward(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits by row and by column, as `QuadraticPositions` does.

        Raises: ShapeError when the grid is larger than the tables.
        """
        if max(len(rows), len(columns)) > self.grid_size:
            raise ShapeError(
                f"a grid of {len(rows)} by {len(columns)} cells", wanted=f"at most {self.grid_size} a side"
            )
        first = self.grid_size - 1
        by_row = self.by_row(self.row_offsets.weight)[rows + first]
        by_column = self.by_column(self.column_offsets.weight)[columns + first]
        return by_row.permute(2, 0, 1), by_column.permute(2, 0, 1)


def offsets(length: int, device: torch.device) -> Tensor:
    """How far behind each place each other one is: "query key", key minus query."""
    place = torch.arange(length, device=device)
    return place[None] - place[:, None]


class RelativeAttention(nn.Module):
    """Attention by relative positions, whose heads read whole tokens.

    Args:
        config: sizes.
    Source: equations 3 to 9; the value and output matrices of a head are one.
    """

    def __init__(self, config: CordonnierConfig) -> None:
        super().__init__()
        heads, width = config.num_heads, config.width
        self.num_heads = heads
        self.positions: QuadraticPositions | LearnedPositions = (
            QuadraticPositions(heads)
            if config.position == "quadratic"
            else LearnedPositions(heads, width, config.grid_size)
        )
        self.query = nn.Linear(width, heads * width) if config.position == "content" else None
        self.key = nn.Linear(width, heads * width) if config.position == "content" else None
        self.value = nn.Linear(heads * width, width)

    def forward(self, x: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        """Return the attended grid."""
        height, width = x.shape[1:3]
        logits = self.positions(offsets(height, x.device), offsets(width, x.device))
        if self.query is None or self.key is None:
            read = self._by_position(x, *logits)
        else:
            read = self._by_content(x, self.query(x), self.key(x), *logits)
        out: Tensor = self.value(read)
        return out

    def _by_position(self, x: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        along_columns = torch.einsum("hyk,bkld->bhyld", by_row.softmax(-1).to(x.dtype), x)
        both = torch.einsum("hxl,bhyld->byxhd", by_column.softmax(-1).to(x.dtype), along_columns)
        return both.flatten(3)

    def _by_content(self, x: Tensor, query: Tensor, key: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        bias = by_row[:, :, None, :, None] + by_column[:, None, :, None, :]
        mask = bias.reshape(1, self.num_heads, height * width, -1).to(x.dtype)
        (queries,) = split_heads(query.flatten(1, 2), 1, self.num_heads)
        (keys,) = split_heads(key.flatten(1, 2), 1, self.num_heads)
        values = x.flatten(1, 2).unsqueeze(1).expand(-1, self.num_heads, -1, -1)
        read = F.scaled_dot_product_attention(queries, keys, values, mask)
        return read.transpose(1, 2).reshape(batch, height, width, -1)


class CordonnierLayer(nn.Module):
    """Attention and an MLP, each added to its input and then normalised.

    Args:
        config: sizes.
    """

    def __init__(self, config: CordonnierConfig) -> None:
        super().__init__()
        self.attn = RelativeAttention(config)
        self.out = nn.Linear(config.width, config.width)
        self.norm1 = nn.LayerNorm(config.width, 1e-12)
        self.mlp = MLP(config.width, config.mlp_dim)
        self.norm2 = nn.LayerNorm(config.width, 1e-12)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "b y x d"]) -> Float[Tensor, "b y x d"]:
        """Return the grid after both."""
        x = self.norm1(x + self.dropout(self.out(self.attn(x))))
        hidden = self.mlp(x.flatten(1, 2)).view(x.shape)
        out: Tensor = self.norm2(x + self.dropout(hidden))
        return out


class Cordonnier(nn.Module):
    """A classifier of attention layers alone.

    Args:
        config: sizes.
    """

    def __init__(self, config: CordonnierConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(3 * config.cell**2, config.width)
        self.layers = nn.Sequential(*(CordonnierLayer(config) for _ in range(config.depth)))
        self.head = nn.Linear(config.width, config.num_classes) if config.num_classes else None
        for part in self.modules():
            init_transformer(part, std=0.02)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> CordonnierOutput:
        """Read pictures.

        Args:
            pixels: `normed`; sides divisible by the cell, and for learned positions not above the image size.
        Raises: ShapeError when they do not fit.
        """
        cell = self.config.cell
        if pixels.shape[2] % cell or pixels.shape[3] % cell:
            raise ShapeError(f"pictures of {tuple(pixels.shape[2:])} pixels", wanted=f"multiples of {cell}")
        cells = F.pixel_unshuffle(pixels, cell).permute(0, 2, 3, 1)
        tokens = self.layers(self.embed(cells)).flatten(1, 2)
        pooled = tokens.mean(1)
        logits = pooled[:, :0] if self.head is None else self.head(pooled)
        return CordonnierOutput(tokens, pooled, logits)


def _variant(paper: str = "Cordonnier et al. 2020, section 4.1", **sizes: object) -> ModelEntry:
    return ModelEntry(CordonnierConfig.model_validate(sizes), Cordonnier, CIFAR, paper)


VARIANTS: dict[str, ModelEntry] = {
    "cordonnier": _variant(),
    "cordonnier_learned": _variant(position="learned"),
    "cordonnier_content": _variant(position="content"),
    "cordonnier_small": _variant("a size for CIFAR", width=96, depth=3, mlp_dim=192),
}
