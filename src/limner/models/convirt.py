"""Zhang et al. 2020, Contrastive Learning of Medical Visual Representations from Paired Images and Text
(ConVIRT, arXiv 2010.00747).

Implements: an image encoder and a BERT whose token states are max-pooled, each with a projection of one
    hidden ReLU layer into a joint space of unit vectors; a fixed temperature.
Differs from the paper: its BERT is ClinicalBERT with the first six layers frozen; here it starts afresh and
    `optim.only` says what rests, since no weights come with limner. A caption is one sentence already, and a
    row's captions are drawn by chance as the paper draws sentences.
Checked against: max-pooling by a loop over real tokens; the loss by loops.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.bert import BertConfig
from limner.models.entry import ModelEntry
from limner.models.towers import (
    EncoderConfig,
    backbone,
    encoder_of,
    require_headless,
    see,
    text_tower,
    width_of,
)


class ConVIRTConfig(Config):
    """Sizes of a ConVIRT.

    Args:
        vision: the image encoder, without a classifier.
        text: the text encoder.
        embed_dim: of the joint space.
        temperature: divides cosines, > 0; not learned.
    """

    vision: EncoderConfig
    text: BertConfig
    embed_dim: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _encoder_alone(self) -> "ConVIRTConfig":
        require_headless(self.vision)
        return self


class ConVIRTOutput(NamedTuple):
    """What ConVIRT tells of pictures and texts.

    Args:
        image_embed: unit vectors of the pictures, fp32.
        text_embed: unit vectors of the texts, fp32.
    """

    image_embed: Float[Tensor, "b e"]
    text_embed: Float[Tensor, "k e"]


def _projection(width: int, embed_dim: int) -> nn.Sequential:
    """Linear, ReLU, Linear, the hidden layer as wide as the input."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, embed_dim))


class ConVIRT(nn.Module):
    """Pictures and texts in one space.

    Args:
        config: sizes.
    Source: section 3, Figure 2.
    """

    def __init__(self, config: ConVIRTConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = encoder_of(config.vision)
        self.text = text_tower(config.text)
        self.vision_proj = _projection(width_of(config.vision), config.embed_dim)
        self.text_proj = _projection(config.text.width, config.embed_dim)

    def image_features(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b d"]:
        """The encoder's vectors, before the projection: what a linear probe reads."""
        return see(self.vision, pixels).pooled

    def encode_image(self, pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b e"]:
        """Unit vectors of pictures, fp32.

        Args:
            pixels: `normed`, of the encoder's size.
        """
        return F.normalize(self.vision_proj(self.image_features(pixels)).float(), dim=-1)

    def encode_text(self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b e"]:
        """Unit vectors of texts, fp32.

        Args:
            ids: tokens, padded on the right.
            mask: True where a token is real; each text has one at least.
        """
        tokens = self.text(ids, mask).masked_fill(~mask[..., None], -torch.inf)
        return F.normalize(self.text_proj(tokens.amax(1)).float(), dim=-1)

    def forward(
        self, pixels: Float[Tensor, "b 3 y x"], ids: Int[Tensor, "k t"], mask: Bool[Tensor, "k t"]
    ) -> ConVIRTOutput:
        """Read pictures and texts; as many of one as of the other, or not."""
        return ConVIRTOutput(self.encode_image(pixels), self.encode_text(ids, mask))


def _variant(name: str) -> ModelEntry:
    vision, line = backbone(name)
    text = BertConfig(vocab_size=28_996, width=768, depth=12, num_heads=12, mlp_dim=3072, memory_width=768)
    return ModelEntry(ConVIRTConfig(vision=vision, text=text), ConVIRT, line.image_spec, "Zhang et al. 2020")


VARIANTS: dict[str, ModelEntry] = {f"convirt_{name}": _variant(name) for name in ("resnet50", "vit_b32")}
