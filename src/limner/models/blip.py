"""Li, Li, Xiong, Hoi 2022, BLIP: Bootstrapping Language-Image Pre-training (arXiv 2201.12086).

Implements: the multimodal mixture of encoder-decoder of Figure 2 (image encoder; text encoder alone; text
    encoder and text decoder grounded in the picture) with the heads of its three objectives, and the four
    ways to share the text parameters of Table 3.
Differs from the paper: keys and values of a picture are computed once and passed as a `CrossMemory`, to all
    texts of that picture and, where cross-attention is shared, to both towers. Same numbers, less work.
Checked against: parameter counts of Table 3; transformers `BlipForConditionalGeneration` and
    `BlipForImageTextRetrieval`.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.bert import PARTS, Bert, BertConfig, CrossMemory
from limner.models.entry import ModelEntry
from limner.models.layers import init_transformer
from limner.models.vit import ViT, ViTConfig
from limner.shapes import ImageSpec

Sharing = Literal["all", "all_but_self_attention", "all_but_cross_attention", "none"]
DECODER_OWN: dict[Sharing, tuple[str, ...]] = {
    "all": (),
    "all_but_self_attention": ("self_attention",),
    "all_but_cross_attention": ("cross_attention",),
    "none": PARTS,
}


class BLIPConfig(Config):
    """Sizes of a BLIP.

    Args:
        vision: the image encoder.
        text: both text towers.
        embed_dim: of the joint space of the contrastive objective.
        sharing: which parts text encoder and decoder share; Table 3.
        pad_id: token that fills short texts.
        cls_id: first token of a text that is read alone.
        sep_id: last token of a text.
        dec_id: first token of a text that is being written.
        enc_id: first token of a text that is matched with a picture.
    """

    vision: ViTConfig
    text: BertConfig
    embed_dim: int = Field(default=256, ge=1)
    sharing: Sharing = "all_but_self_attention"
    pad_id: int = Field(default=0, ge=0)
    cls_id: int = Field(default=101, ge=0)
    sep_id: int = Field(default=102, ge=0)
    dec_id: int = Field(default=30522, ge=0)
    enc_id: int = Field(default=30523, ge=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> "BLIPConfig":
        if self.text.memory_width != self.vision.width:
            raise ValueError(
                f"text.memory_width {self.text.memory_width} is not vision.width {self.vision.width}"
            )
        largest = max(self.pad_id, self.cls_id, self.sep_id, self.dec_id, self.enc_id)
        if largest >= self.text.vocab_size:
            raise ValueError(f"special token {largest} is outside text.vocab_size {self.text.vocab_size}")
        return self


class BLIPOutput(NamedTuple):
    """What BLIP tells of pairs, row by row.

    Args:
        image_embed: unit vectors of the pictures.
        text_embed: unit vectors of the texts.
        match_logits: class 1 means picture and text belong together.
        lm_logits: scores of the token that follows each token.
    """

    image_embed: Float[Tensor, "b e"]
    text_embed: Float[Tensor, "b e"]
    match_logits: Float[Tensor, "b 2"]
    lm_logits: Float[Tensor, "b t v"]


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
        self.vision = ViT(config.vision)
        self.text_encoder = Bert(config.text)
        self.text_decoder = Bert(config.text, twin=self.text_encoder, own=DECODER_OWN[config.sharing])
        self.lm_head = LMHead(config.text)
        self.vision_proj = nn.Linear(config.vision.width, config.embed_dim)
        self.text_proj = nn.Linear(config.text.width, config.embed_dim)
        self.itm_head = nn.Linear(config.text.width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))

    def encode_image(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of `normed` pixels; token 0 is the class token."""
        tokens: Tensor = self.vision(pixels).tokens
        return tokens

    def embed_image(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b e"]:
        """Return unit vectors of pictures in the joint space, fp32, from their tokens."""
        return F.normalize(self.vision_proj(tokens[:, 0]).float(), dim=-1)

    def embed_text(
        self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b e"]:
        """Return unit vectors of texts in the joint space, fp32; no picture is looked at.

        Args:
            ids: start with [CLS].
            mask: True where a token is real; None when all are.
        """
        return F.normalize(self.text_proj(self.text_encoder.first(ids, mask)).float(), dim=-1)

    def encoder_memory(self, tokens: Float[Tensor, "b n d"]) -> CrossMemory:
        """Return what the text encoder needs of pictures, for `match`."""
        return self.text_encoder.memory(tokens)

    def decoder_memory(
        self, tokens: Float[Tensor, "b n d"], encoder_memory: CrossMemory | None = None
    ) -> CrossMemory:
        """Return what the text decoder needs of pictures, for `decode` and `generate`.

        Args:
            tokens: of the pictures.
            encoder_memory: of the same pictures; returned as it is when the towers share cross-attention.
        """
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
        """
        ids = _start_with(ids, self.config.enc_id)
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
        """
        ids = _start_with(ids, self.config.dec_id)
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
        tokens = self.encode_image(pixels)
        memory = self.encoder_memory(tokens)
        return BLIPOutput(
            self.embed_image(tokens),
            self.embed_text(ids, mask),
            self.match(memory, ids, mask),
            self.decode(self.decoder_memory(tokens, memory), ids),
        )


def _start_with(ids: Tensor, token: int) -> Tensor:
    return torch.cat([torch.full_like(ids[:, :1], token), ids[:, 1:]], dim=1)


_BLIP_BASE = BLIPConfig(
    vision=ViTConfig(image_size=224, patch_size=16, width=768, depth=12, num_heads=12, mlp_dim=3072),
    text=BertConfig(vocab_size=30524, width=768, depth=12, num_heads=12, mlp_dim=3072, memory_width=768),
)
_LIMNER_TINY = BLIPConfig(
    vision=ViTConfig(
        image_size=64,
        patch_size=16,
        width=192,
        depth=2,
        num_heads=6,
        mlp_dim=768,
        stem=(32, 64, 128, 256),
        init_std=0.04,
    ),
    text=BertConfig(
        vocab_size=1500,
        width=160,
        depth=3,
        num_heads=5,
        mlp_dim=640,
        max_positions=64,
        memory_width=192,
        dropout=0.0,
        init_std=0.04,
    ),
    embed_dim=96,
    pad_id=0,
    cls_id=2,
    sep_id=3,
    dec_id=5,
    enc_id=6,
)

VARIANTS: dict[str, ModelEntry] = {
    "blip_base": ModelEntry(_BLIP_BASE, BLIP, ImageSpec(size=224), "Li et al. 2022, section 4.1"),
    "limner_tiny": ModelEntry(
        _LIMNER_TINY, BLIP, ImageSpec(size=64), "limner's own: a BLIP for two CPU cores"
    ),
}
