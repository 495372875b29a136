"""Devlin et al. 2018, BERT: Pre-training of Deep Bidirectional Transformers (arXiv 1810.04805).

Implements: the post-norm text transformer, with a cross-attention to a picture between the self-attention
    and the MLP of every layer (BLIP, Li et al. 2022, arXiv 2201.12086, Figure 2). One `Bert` can use parts of
    another, which is how BLIP's encoder and decoder share weights.
Differs from the paper: no token types (BLIP has none); query, key and value of self-attention are one
    projection, as are key and value of cross-attention; masks exclude exactly, where BLIP adds −10000.
Checked against: transformers `BlipTextModel` and `BlipTextLMHeadModel`; arrays from BLIP's released code.
"""

from collections.abc import Collection, Iterator
from functools import partial
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ShapeError
from limner.models.layers import attend, init_transformer, split_heads
from limner.models.self_cache import SelfCache, StaticCache


class BertConfig(Config):
    """Sizes of a text transformer.

    Args:
        vocab_size: rows of the word embedding.
        width: of a token.
        depth: layers.
        num_heads: heads of each attention; divides `width`.
        mlp_dim: hidden width of each MLP.
        max_positions: longest text, tokens.
        memory_width: width of the image tokens that cross-attention reads.
        dropout: on embeddings, attention weights and branches, [0, 1).
        layer_norm_eps: of every layer norm.
        init_std: of the truncated normal weights.
    """

    vocab_size: int = Field(ge=8)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    mlp_dim: int = Field(ge=1)
    max_positions: int = Field(default=512, ge=2)
    memory_width: int = Field(ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    init_std: float = Field(default=0.02, gt=0)

    @model_validator(mode="after")
    def _heads_divide(self) -> "BertConfig":
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not divisible by num_heads {self.num_heads}")
        return self


class CrossMemory(NamedTuple):
    """Keys and values of a batch of pictures for every layer's cross-attention, computed once a picture.

    Args:
        layers: keys beside values, one tensor a layer, one row a picture; s = 2 · h · f.
        mask: True where a token is real; None when all are.
    """

    layers: tuple[Float[Tensor, "b n s"], ...]
    mask: Bool[Tensor, "b n"] | None = None

    def rows(self, index: Int[Tensor, " r"]) -> "CrossMemory":
        """Return the memory of the pictures at `index`, in that order; a picture may be taken often."""
        layers = tuple(layer.index_select(0, index) for layer in self.layers)
        return CrossMemory(layers, None if self.mask is None else self.mask.index_select(0, index))

    @property
    def num_rows(self) -> int:
        """Pictures held."""
        return len(self.layers[0])


class Embeddings(nn.Module):
    """Word plus position, normalised.

    Args:
        config: sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.max_positions, config.width)
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Int[Tensor, "b t"], start: int | Tensor = 0) -> Float[Tensor, "b t d"]:
        """Return one vector a token; the first stands at position `start`."""
        if isinstance(start, Tensor):
            positions = self.positions(start + torch.arange(ids.shape[1], device=ids.device))
        else:
            positions = self.positions.weight[start : start + ids.shape[1]]
        out: Tensor = self.dropout(self.norm(self.words(ids) + positions))
        return out


class SelfAttention(nn.Module):
    """Attention of a text to itself, added to it and normalised.

    Args:
        config: sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = config.num_heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def project(self, x: Float[Tensor, "b t d"]) -> tuple[Tensor, ...]:
        """Return query, key and value, each "b h t f"."""
        return split_heads(self.qkv(x), 3, self.num_heads)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        query: Float[Tensor, "b h t f"],
        key: Float[Tensor, "b h n f"],
        value: Float[Tensor, "b h n f"],
        mask: Bool[Tensor, "#b 1 #t n"] | None,
        causal: bool,
    ) -> Float[Tensor, "b t d"]:
        """Return `x` with what its queries read."""
        dropout = self.attention_dropout if self.training else 0.0
        read = attend(query, key, value, mask, causal=causal, dropout=dropout)
        out: Tensor = self.norm(x + self.dropout(self.out(read)))
        return out


class CrossAttention(nn.Module):
    """Attention of a text to a picture, added to the text and normalised.

    Args:
        config: sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = config.num_heads, config.dropout
        self.query = nn.Linear(config.width, config.width)
        self.kv = nn.Linear(config.memory_width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        kv: Float[Tensor, "b n s"],
        mask: Bool[Tensor, "b 1 1 n"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Return `x` with what it reads in the picture, whose keys and values come from `self.kv`."""
        dropout = self.attention_dropout if self.training else 0.0
        (query,) = split_heads(self.query(x), 1, self.num_heads)
        key, value = split_heads(kv, 2, self.num_heads)
        read = attend(query, key, value, mask, dropout=dropout)
        out: Tensor = self.norm(x + self.dropout(self.out(read)))
        return out


class MLP(nn.Module):
    """Linear, exact GELU, Linear on each token, added to it and normalised.

    Args:
        config: sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(config.mlp_dim, config.width)
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Return the transformed tokens."""
        out: Tensor = self.norm(x + self.dropout(self.fc2(self.act(self.fc1(x)))))
        return out


PARTS = ("embeddings", "self_attention", "cross_attention", "mlp")


class Bert(nn.Module):
    """A text transformer that can read a picture.

    Parts taken from a `twin` are used but not registered here: their weights are parameters of the twin, and
    stand once in the state of the model that holds both.

    Args:
        config: sizes.
        twin: a tower whose parts this one uses.
        own: parts, of `PARTS`, that this tower has for itself all the same.
    """

    embeddings: Embeddings
    self_attention: nn.ModuleList
    cross_attention: nn.ModuleList
    mlp: nn.ModuleList

    def __init__(self, config: BertConfig, twin: "Bert | None" = None, own: Collection[str] = PARTS) -> None:
        super().__init__()
        self.config = config
        for name in PARTS:
            if twin is None or name in own:
                setattr(self, name, _part(name, config))
            else:
                object.__setattr__(self, name, getattr(twin, name))  # past nn.Module, which would register it
        self.apply(partial(init_transformer, std=config.init_std))

    def memory(
        self, image_tokens: Float[Tensor, "b n m"], mask: Bool[Tensor, "b n"] | None = None
    ) -> CrossMemory:
        """Compute every layer's keys and values of a batch of pictures, or of texts with their mask."""
        return CrossMemory(tuple(cross.kv(image_tokens) for _, cross, _ in self._layers()), mask)

    def forward(
        self,
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
        memory: CrossMemory | None = None,
        *,
        causal: bool = False,
        cache: SelfCache | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Read texts.

        Args:
            ids: token ids; with a cache, only the tokens that are not in it.
            mask: True where a token is real; None when all are. A causal tower over texts padded on the
                right needs none: nothing that follows a token can change it.
            memory: the pictures; None skips cross-attention. With g texts a picture, rows i·g … i·g + g − 1
                of `ids` read picture i, and nothing is copied.
            causal: token i sees tokens 0..i.
            cache: keys and values of the tokens before `ids`; grows by them. With a `StaticCache` the tower
                is causal and `mask` is not looked at.
        Returns: one vector a token.
        Raises: ShapeError when the texts are no multiple of the pictures, or a text is too long.
        """
        start = cache.length if cache else 0
        self._check(ids, memory, start)
        look: Tensor | None
        if isinstance(cache, StaticCache):
            look, fused = cache.visible(ids.shape[1]), False
        else:
            look, fused = _visible(ids, mask, causal, int(start))
        x = self.embeddings(ids, start)
        for number, (attention, cross, mlp) in enumerate(self._layers()):
            query, key, value = attention.project(x)
            if cache:
                key, value = cache.append(number, key, value)
            x = attention(x, query, key, value, look, fused)
            x = mlp(x if memory is None else _read(cross, x, memory, number))
        if cache:
            cache.length += ids.shape[1]
        return x  # type: ignore[no-any-return]

    def first(
        self,
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
        memory: CrossMemory | None = None,
    ) -> Float[Tensor, "b d"]:
        """Return `forward(ids, mask, memory)[:, 0]`, with the last layer's work done for token 0 alone."""
        self._check(ids, memory, 0)
        look, _ = _visible(ids, mask, False, 0)
        x = self.embeddings(ids)
        for number, (attention, cross, mlp) in enumerate(self._layers()):
            query, key, value = attention.project(x)
            if number == self.config.depth - 1:
                x, query = x[:, :1], query[:, :, :1]
            x = attention(x, query, key, value, look, False)
            x = mlp(x if memory is None else _read(cross, x, memory, number))
        return x[:, 0]  # type: ignore[no-any-return]

    def _layers(self) -> Iterator[tuple[SelfAttention, CrossAttention, MLP]]:
        layers = zip(self.self_attention, self.cross_attention, self.mlp, strict=True)
        return cast("Iterator[tuple[SelfAttention, CrossAttention, MLP]]", layers)

    def _check(self, ids: Tensor, memory: CrossMemory | None, start: int | Tensor) -> None:
        if memory is not None and len(ids) % memory.num_rows:
            raise ShapeError(
                f"{len(ids)} texts and {memory.num_rows} pictures",
                wanted="as many texts for each picture, standing next to each other",
                hint="memory.rows(index) repeats or reorders pictures",
            )
        if isinstance(start, Tensor):
            return
        if (length := start + ids.shape[1]) > (most := self.config.max_positions):
            raise ShapeError(f"a text of {length} tokens", wanted=f"at most {most}")


def _part(name: str, config: BertConfig) -> nn.Module:
    """Return a fresh part of a tower: the embeddings, or one sublayer for each layer."""
    if name == "embeddings":
        return Embeddings(config)
    kind = {"self_attention": SelfAttention, "cross_attention": CrossAttention, "mlp": MLP}[name]
    return nn.ModuleList(kind(config) for _ in range(config.depth))


def _read(cross: nn.Module, x: Tensor, memory: CrossMemory, layer: int) -> Tensor:
    """Let texts read their pictures; the texts of one are laid end to end, so that nothing is copied."""
    end_to_end = x.reshape(memory.num_rows, -1, x.shape[-1])
    mask = None if memory.mask is None else memory.mask[:, None, None, :]
    out: Tensor = cross(end_to_end, memory.layers[layer], mask).view_as(x)
    return out


def _visible(
    ids: Tensor, mask: Tensor | None, causal: bool, start: int
) -> tuple[Bool[Tensor, "#b 1 #t n"] | None, bool]:
    """Return what each query may look at: a mask or None, and whether the fused causal kernel says it all."""
    look = None if mask is None else mask[:, None, None, :]
    tokens = ids.shape[1]
    if not causal or tokens == 1:
        return look, False
    if look is None and start == 0:
        return None, True
    past = torch.ones(tokens, start + tokens, dtype=torch.bool, device=ids.device).tril(start)[None, None]
    return (past if look is None else past & look), False
