"""Li, Li, Xiong, Hoi 2022, BLIP: Bootstrapping Language-Image Pre-training (arXiv 2201.12086).

Implements: the multimodal mixture of encoder-decoder of Figure 2 (image encoder; text encoder alone; text
    encoder and text decoder grounded in the picture) with the heads of its three objectives, and the four
    ways to share the text parameters of Table 3. Captioners and retrieval models are BLIPs with fewer heads:
    the parts that no head needs do not exist.
Differs from the paper: keys and values of a picture are computed once and passed as a `CrossMemory`, to all
    texts of that picture and, where cross-attention is shared, to both towers. Same numbers, less work.
    `num_classes` puts a plain classifier on the class token, to compare with.
Checked against: parameter counts of Table 3; arrays from the authors' released code (all three heads);
    transformers `BlipForConditionalGeneration` and `BlipForImageTextRetrieval`.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.errors import ConfigError
from limner.models.bert import PARTS, Bert, BertConfig, CrossMemory
from limner.models.layers import init_transformer
from limner.models.vit import ViT, ViTConfig

Head = Literal["itc", "itm", "lm"]
HEADS: dict[Head, str] = {
    "itc": "compares pictures and texts; blip_base_retrieval has it",
    "itm": "matches texts with a picture; blip_base_retrieval has it",
    "lm": "writes texts; blip_base_caption has it",
}
Sharing = Literal["all", "all_but_self_attention", "all_but_cross_attention", "none"]
DECODER_OWN: dict[Sharing, tuple[str, ...]] = {
    "all": (),
    "all_but_self_attention": ("self_attention",),
    "all_but_cross_attention": ("cross_attention",),
    "none": PARTS,
}


class GroundedConfig(Config):
    """What every text transformer that reads pictures is told: its sizes and its special tokens.

    Args:
        vision: the image encoder.
        text: the text towers.
        pad_id: token that fills short texts.
        cls_id: first token of a text that is read alone.
        sep_id: last token of a text.
        dec_id: first token of a text that is being written.
        enc_id: first token of a text that is matched with a picture.
    """

    vision: ViTConfig
    text: BertConfig
    pad_id: int = Field(default=0, ge=0)
    cls_id: int = Field(default=101, ge=0)
    sep_id: int = Field(default=102, ge=0)
    dec_id: int = Field(default=30522, ge=0)
    enc_id: int = Field(default=30523, ge=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> "GroundedConfig":
        if self.text.memory_width != self.vision.width:
            raise ValueError(
                f"text.memory_width {self.text.memory_width} is not vision.width {self.vision.width}"
            )
        if not self.vision.class_token:
            raise ValueError("vision.class_token is false: token 0 stands for the picture")
        largest = max(self.pad_id, self.cls_id, self.sep_id, self.dec_id, self.enc_id)
        if largest >= self.text.vocab_size:
            raise ValueError(f"special token {largest} is outside text.vocab_size {self.text.vocab_size}")
        return self


class BLIPConfig(GroundedConfig):
    """Sizes of a BLIP.

    Args:
        embed_dim: of the joint space of the contrastive objective.
        sharing: which parts text encoder and decoder share; Table 3. Nothing to share with one tower.
        heads: "itc" and "itm" need the text encoder, "lm" needs the text decoder.
        num_classes: outputs of a classifier on the class token; 0 for none.
    """

    embed_dim: int = Field(default=256, ge=1)
    sharing: Sharing = "all_but_self_attention"
    heads: tuple[Head, ...] = ("itc", "itm", "lm")
    num_classes: int = Field(default=0, ge=0)

    @field_validator("heads")
    @classmethod
    def _in_one_order(cls, heads: tuple[Head, ...]) -> tuple[Head, ...]:
        return tuple(head for head in HEADS if head in heads)

    @model_validator(mode="after")
    def _does_something(self) -> "BLIPConfig":
        if not self.heads and not self.num_classes:
            raise ValueError("no heads and no num_classes: that is a ViT")
        return self


class BLIPOutput(NamedTuple):
    """What BLIP tells of pairs, row by row; of no width (e, o, v or k = 0) where it lacks the head.

    Args:
        image_embed: unit vectors of the pictures.
        text_embed: unit vectors of the texts.
        match_logits: class 1 means picture and text belong together; o = 2.
        lm_logits: scores of the token that follows each token.
        class_logits: class scores of the pictures.
    """

    image_embed: Float[Tensor, "b e"]
    text_embed: Float[Tensor, "b e"]
    match_logits: Float[Tensor, "b o"]
    lm_logits: Float[Tensor, "b t v"]
    class_logits: Float[Tensor, "b k"]


class LMHead(nn.Module):
    """BERT's prediction head; its last matrix is the word embedding.

    Args:
        config: sizes of the tower before it.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.act = nn.GELU()
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(partial(init_transformer, std=config.init_std))

    def forward(self, x: Float[Tensor, "b t d"], words: Float[Tensor, "v d"]) -> Float[Tensor, "b t v"]:
        """Return the score of every word; `words` is the decoder's word embedding."""
        return F.linear(self.norm(self.act(self.dense(x))), words, self.bias)


class BLIP(nn.Module):
    """An image encoder and a text transformer that reads, matches and writes.

    Args:
        config: sizes.
    Source: Figure 2.
    """

    def __init__(self, config: BLIPConfig) -> None:
        super().__init__()
        self.config = config
        heads, text = config.heads, config.text
        self.vision = ViT(config.vision)
        if "itc" in heads or "itm" in heads:
            self.text_encoder = Bert(text)
        if "lm" in heads:
            twin = None if heads == ("lm",) else self.text_encoder
            self.text_decoder = Bert(text, twin=twin, own=DECODER_OWN[config.sharing])
            self.lm_head = LMHead(text)
        if "itc" in heads:
            self.vision_proj = nn.Linear(config.vision.width, config.embed_dim)
            self.text_proj = nn.Linear(text.width, config.embed_dim)
        if "itm" in heads:
            self.itm_head = nn.Linear(text.width, 2)
        if "itc" in heads:
            self.temperature = nn.Parameter(torch.tensor(0.07))
        if config.num_classes:
            self.classifier = nn.Linear(config.vision.width, config.num_classes)

    def require(self, head: Head, what: str) -> None:
        """Make sure that a head is there.

        Args:
            head: what is needed.
            what: what it is needed for, for the message.
        Raises: ConfigError when this BLIP lacks it.
        """
        if head not in self.config.heads:
            has = ", ".join(self.config.heads) or "none"
            raise ConfigError(
                f"{what} with a BLIP whose heads are: {has}",
                wanted=f'the head "{head}"',
                hint=f'"{head}" {HEADS[head]}',
            )

    def encode_image(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of `normed` pixels; token 0 is the class token."""
        tokens: Tensor = self.vision(pixels).tokens
        return tokens

    def embed_image(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b e"]:
        """Return unit vectors of pictures in the joint space, fp32, from their tokens.

        Raises: ConfigError without the head "itc".
        """
        self.require("itc", "embed_image")
        return F.normalize(self.vision_proj(tokens[:, 0]).float(), dim=-1)

    def embed_text(
        self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b e"]:
        """Return unit vectors of texts in the joint space, fp32; no picture is looked at.

        Args:
            ids: start with [CLS].
            mask: True where a token is real; None when all are.
        Raises: ConfigError without the head "itc".
        """
        self.require("itc", "embed_text")
        return F.normalize(self.text_proj(self.text_encoder.first(ids, mask)).float(), dim=-1)

    def encoder_memory(self, tokens: Float[Tensor, "b n d"]) -> CrossMemory:
        """Return what the text encoder needs of pictures, for `match`.

        Raises: ConfigError without the head "itm".
        """
        self.require("itm", "encoder_memory")
        return self.text_encoder.memory(tokens)

    def decoder_memory(
        self, tokens: Float[Tensor, "b n d"], encoder_memory: CrossMemory | None = None
    ) -> CrossMemory:
        """Return what the text decoder needs of pictures, for `decode` and `generate`.

        Args:
            tokens: of the pictures.
            encoder_memory: of the same pictures; returned as it is when the towers share cross-attention.
        Raises: ConfigError without the head "lm".
        """
        self.require("lm", "decoder_memory")
        own = "cross_attention" in DECODER_OWN[self.config.sharing]
        return self.text_decoder.memory(tokens) if own or encoder_memory is None else encoder_memory

    def match(
        self, memory: CrossMemory, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b 2"]:
        """Score whether each text tells of its picture.

        Args:
            memory: from `encoder_memory`, one row a text.
            ids: token 0 is replaced by [ENC].
            mask: True where a token is real; None when all are.
        Returns: logits; class 1 is "matched".
        Raises: ConfigError without the head "itm".
        """
        self.require("itm", "match")
        ids = start_with(ids, self.config.enc_id)
        logits: Tensor = self.itm_head(self.text_encoder.first(ids, mask, memory))
        return logits

    def decode(
        self, memory: CrossMemory, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t v"]:
        """Score the token that follows each token of a text about a picture.

        Args:
            memory: from `decoder_memory`, one row a text.
            ids: token 0 is replaced by [DEC].
            mask: True where a token is real; not needed when texts are padded on the right.
        Returns: logits; row i of a text is about token i + 1.
        Raises: ConfigError without the head "lm".
        """
        self.require("lm", "decode")
        ids = start_with(ids, self.config.dec_id)
        return self.write(self.text_decoder(ids, mask, memory, causal=True))

    def write(self, states: Float[Tensor, "b t d"]) -> Float[Tensor, "b t v"]:
        """Return the logits of the decoder's output states."""
        logits: Tensor = self.lm_head(states, self.text_decoder.embeddings.words.weight)
        return logits

    def forward(
        self,
        pixels: Float[Tensor, "b 3 y x"],
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> BLIPOutput:
        """Read pairs of picture and text, row by row.

        Args:
            pixels: `normed`.
            ids: texts, [CLS] … [SEP], padded on the right.
            mask: True where a token is real; None when all are.
        """
        heads = self.config.heads
        tokens = self.encode_image(pixels)
        memory = self.encoder_memory(tokens) if "itm" in heads else None
        nothing = tokens[:, 0, :0]
        spoken = nothing[:, None].expand(-1, ids.shape[1], -1)
        return BLIPOutput(
            self.embed_image(tokens) if "itc" in heads else nothing,
            self.embed_text(ids, mask) if "itc" in heads else nothing,
            nothing if memory is None else self.match(memory, ids, mask),
            self.decode(self.decoder_memory(tokens, memory), ids) if "lm" in heads else spoken,
            self.classifier(tokens[:, 0]) if self.config.num_classes else nothing,
        )


def start_with(ids: Int[Tensor, "b t"], token: int) -> Int[Tensor, "b t"]:
    """Return texts with their first token replaced."""
    return torch.cat([torch.full_like(ids[:, :1], token), ids[:, 1:]], dim=1)


def with_heads(model: BLIP, heads: tuple[Head, ...]) -> BLIP:
    """Copy a BLIP with some of its heads: a captioner or a retrieval model out of a pre-trained one.

    Args:
        model: left as it is; it has these heads and perhaps more.
        heads: to keep; what only others need is left out, what was shared becomes their own.
    Raises: ConfigError when the model lacks one.
    """
    config = BLIPConfig.model_validate(model.config.model_dump() | {"heads": heads})
    for head in config.heads:
        model.require(head, "with_heads")
    part = BLIP(config).to(model.vision.cls_token)
    for name, child in part.named_children():
        copy_weights(getattr(model, name), child)
    if "itc" in config.heads:
        part.temperature.data.copy_(model.temperature.data)
    return part.train(model.training)


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of one part into another of the same sizes, those of a twin among them."""
    if not (isinstance(source, Bert) and isinstance(target, Bert)):
        target.load_state_dict(source.state_dict())
        return
    for name in PARTS:
        getattr(target, name).load_state_dict(getattr(source, name).state_dict())
