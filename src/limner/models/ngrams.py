"""Li et al. 2017, Learning Visual N-Grams from Web Data (arXiv 1612.09161).

Implements: an image encoder φ and one vector a dictionary n-gram (words in a row, one to five), whose product
    scores the n-gram for the picture: softmax over the dictionary is p_obs(n-gram | picture).
Differs from the paper: the softmax is exact, where the paper takes the n-grams of the batch for all; the
    paper's 142,806 n-grams are the size of the named models, a training run grows its own dictionary.
Checked against: the equation, which is one matrix product; the losses are checked by loops.
"""

from typing import NamedTuple

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.entry import ModelEntry
from limner.models.towers import EncoderConfig, backbone, encoder_of, require_headless, see, width_of


class NGramsConfig(Config):
    """Sizes of a visual n-gram model.

    Args:
        vision: the encoder that is to learn, without a classifier.
        num_ngrams: of the dictionary.
    """

    vision: EncoderConfig
    num_ngrams: int = Field(default=142_806, ge=1)

    @model_validator(mode="after")
    def _encoder_alone(self) -> "NGramsConfig":
        require_headless(self.vision)
        return self


class NGramsOutput(NamedTuple):
    """What the model tells of a picture.

    Args:
        pooled: φ, the picture's vector.
        logits: a score a dictionary n-gram.
    """

    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class NGrams(nn.Module):
    """An image encoder that scores n-grams.

    Args:
        config: sizes.
    Source: section 3.2.
    """

    def __init__(self, config: NGramsConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = encoder_of(config.vision)
        self.ngrams = nn.Linear(width_of(config.vision), config.num_ngrams, bias=False)
        nn.init.trunc_normal_(self.ngrams.weight, std=0.02)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> NGramsOutput:
        """Read pictures.

        Args:
            pixels: `normed`, of the encoder's size.
        """
        pooled = see(self.vision, pixels).pooled
        return NGramsOutput(pooled, self.ngrams(pooled))


def _variant(name: str) -> ModelEntry:
    vision, line = backbone(name)
    return ModelEntry(NGramsConfig(vision=vision), NGrams, line.image_spec, "Li et al. 2017")


VARIANTS: dict[str, ModelEntry] = {f"ngrams_{name}": _variant(name) for name in ("resnet34", "vit_b32")}
