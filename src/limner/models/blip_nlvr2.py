"""BLIP's reasoning over two pictures, NLVR2 (Li et al. 2022, arXiv 2201.12086, section 5.4 and Figure 5b).

Implements: the text encoder with a cross-attention to either picture in each layer, side by side; the first
    layers average what the two read, the others merge it by a linear layer; two classes from token 0.
Differs from the released code: keys and values of both pictures are computed once, as one `CrossMemory`.
Checked against: arrays from the authors' released code; its parameter count. No other library has this model.
"""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.bert import PARTS, Bert, BertConfig, CrossAttention, CrossMemory
from limner.models.blip import BLIP, GroundedConfig, copy_weights, start_with
from limner.models.layers import attend, init_transformer, split_heads
from limner.models.vit import ViT


class BLIPNLVR2Config(GroundedConfig):
    """Sizes of a BLIP that judges statements about two pictures.

    Args:
        merge_from: first layer that merges by a linear layer; None is half of them, the released 6 of 12.
    """

    merge_from: int | None = Field(default=None, ge=0)

    @property
    def average_layers(self) -> int:
        """Layers that average what is read in the two pictures."""
        return self.text.depth // 2 if self.merge_from is None else self.merge_from


class BLIPNLVR2Output(NamedTuple):
    """What is told of statements about pairs of pictures.

    Args:
        logits: class 1 means the statement is true.
    """

    logits: Float[Tensor, "b 2"]


class TwinCrossAttention(nn.Module):
    """Attention of a text to two pictures, brought together, added to the text and normalised.

    Args:
        config: sizes.
        merge: bring together by a linear layer; else by the mean.
    """

    def __init__(self, config: BertConfig, merge: bool) -> None:
        super().__init__()
        width = config.width
        self.num_heads, self.attention_dropout = config.num_heads, config.dropout
        self.query0, self.query1 = nn.Linear(width, width), nn.Linear(width, width)
        self.kv0, self.kv1 = (nn.Linear(config.memory_width, 2 * width) for _ in range(2))
        self.out0, self.out1 = nn.Linear(width, width), nn.Linear(width, width)
        self.merge = nn.Linear(2 * width, width) if merge else None
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def kv(self, left: Float[Tensor, "b n m"], right: Float[Tensor, "b n m"]) -> Float[Tensor, "b n s"]:
        """Return keys and values of either picture, side by side; s = 4 · h · f."""
        return torch.cat([self.kv0(left), self.kv1(right)], dim=-1)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        kv: Float[Tensor, "b n s"],
        mask: Bool[Tensor, "b 1 1 n"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Return `x` with what it reads in the two pictures, whose keys and values come from `self.kv`."""
        dropout = self.attention_dropout if self.training else 0.0
        read = []
        for query, out, half in zip(
            (self.query0, self.query1), (self.out0, self.out1), kv.chunk(2, dim=-1), strict=True
        ):
            (asked,) = split_heads(query(x), 1, self.num_heads)
            key, value = split_heads(half, 2, self.num_heads)
            read.append(out(attend(asked, key, value, mask, dropout=dropout)))
        both = (read[0] + read[1]) / 2 if self.merge is None else self.merge(torch.cat(read, dim=-1))
        result: Tensor = self.norm(x + self.dropout(both))
        return result


class BLIPNLVR2(nn.Module):
    """An image encoder, a text encoder that reads two pictures at once, and a verdict.

    Args:
        config: sizes.
    """

    def __init__(self, config: BLIPNLVR2Config) -> None:
        super().__init__()
        self.config = config
        text, merged = config.text, config.average_layers
        self.vision = ViT(config.vision)
        self.text_encoder = Bert(text)
        self.text_encoder.cross_attention = nn.ModuleList(
            TwinCrossAttention(text, merge=layer >= merged) for layer in range(text.depth)
        )
        self.text_encoder.cross_attention.apply(partial(init_transformer, std=text.init_std))
        self.cls_head = nn.Sequential(nn.Linear(text.width, text.width), nn.ReLU(), nn.Linear(text.width, 2))

    def encode_image(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of `normed` pixels; token 0 is the class token."""
        tokens: Tensor = self.vision(pixels).tokens
        return tokens

    def memory(self, left: Float[Tensor, "b n m"], right: Float[Tensor, "b2 n m"]) -> CrossMemory:
        """Return what `judge` needs of pairs of pictures, from their tokens.

        Raises: ShapeError when there are not as many left as right ones.
        """
        if left.shape != right.shape:
            raise ShapeError(
                f"{len(left)} left and {len(right)} right pictures", wanted="a right one for each left one"
            )
        twins = cast("Iterable[TwinCrossAttention]", self.text_encoder.cross_attention)
        return CrossMemory(tuple(twin.kv(left, right) for twin in twins))

    def judge(
        self, memory: CrossMemory, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b 2"]:
        """Score whether each statement is true of its two pictures.

        Args:
            memory: from `memory`; with g statements a pair, those of one stand next to each other.
            ids: token 0 is replaced by [ENC].
            mask: True where a token is real; None when all are.
        Returns: logits; class 1 is "true".
        """
        started = start_with(ids, self.config.enc_id)
        logits: Tensor = self.cls_head(self.text_encoder.first(started, mask, memory))
        return logits

    def forward(
        self,
        left: Float[Tensor, "b 3 y x"],
        right: Float[Tensor, "b 3 y x"],
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> BLIPNLVR2Output:
        """Read pairs of pictures and a statement about each, row by row.

        Args:
            left: `normed`; the first picture of each pair, which `query0` reads.
            right: `normed`; the second.
            ids: statements, [CLS] … [SEP], padded on the right.
            mask: True where a token is real; None when all are.
        """
        tokens = self.encode_image(torch.cat([left, right]))
        memory = self.memory(tokens[: len(left)], tokens[len(left) :])
        return BLIPNLVR2Output(self.judge(memory, ids, mask))


def nlvr2_from(model: BLIP) -> BLIPNLVR2:
    """Make a model to fine-tune on pairs of pictures out of a pre-trained BLIP, which is left as it is.

    Both cross-attentions of a layer start as the one it has; merging layers and the verdict start afresh.

    Raises: ConfigError when the model lacks the head "itm".
    """
    model.require("itm", "nlvr2_from")
    values = model.config.model_dump(include=set(GroundedConfig.model_fields))
    target = BLIPNLVR2(BLIPNLVR2Config.model_validate(values)).to(model.vision.cls_token)
    copy_weights(model.vision, target.vision)
    for name in PARTS:
        if name != "cross_attention":
            copy_weights(getattr(model.text_encoder, name), getattr(target.text_encoder, name))
    for one, twin in zip(
        model.text_encoder.cross_attention, target.text_encoder.cross_attention, strict=True
    ):
        _double(one, twin)  # type: ignore[arg-type]
    return target.train(model.training)


def _double(one: CrossAttention, twin: TwinCrossAttention) -> None:
    copies = {"query": ("query0", "query1"), "kv": ("kv0", "kv1"), "out": ("out0", "out1"), "norm": ("norm",)}
    for name, targets in copies.items():
        for target in targets:
            copy_weights(getattr(one, name), getattr(twin, target))
