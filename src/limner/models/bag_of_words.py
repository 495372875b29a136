"""Joulin et al. 2016, Learning Visual Features from Large Weakly Supervised Data (arXiv 1511.02251).

Implements: prediction of a caption's words from the picture, without their order: an image encoder and one
    linear layer over the vocabulary. It is the "bag of words prediction" of CLIP's Figure 2 and the "token
    classification" that VirTex compares with.
Differs: the encoders are limner's, not AlexNet; words are the tokens of the vocabulary.
Checked against: nothing but its equations, which are a linear layer; its losses are checked by loops.
"""

from typing import NamedTuple

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.entry import ModelEntry
from limner.models.towers import EncoderConfig, backbone, encoder_of, require_headless, see, width_of


class BagOfWordsConfig(Config):
    """Sizes of a predictor of words.

    Args:
        vision: the encoder that is to learn, without a classifier.
        vocab_size: words.
    """

    vision: EncoderConfig
    vocab_size: int = Field(default=10_000, ge=1)

    @model_validator(mode="after")
    def _encoder_alone(self) -> "BagOfWordsConfig":
        require_headless(self.vision)
        return self


class BagOfWordsOutput(NamedTuple):
    """What the model tells of a picture.

    Args:
        pooled: the picture's vector.
        logits: a score a word.
    """

    pooled: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class BagOfWords(nn.Module):
    """An image encoder that names the words of captions.

    Args:
        config: sizes.
    """

    def __init__(self, config: BagOfWordsConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = encoder_of(config.vision)
        self.head = nn.Linear(width_of(config.vision), config.vocab_size)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> BagOfWordsOutput:
        """Read pictures.

        Args:
            pixels: `normed`, of the encoder's size.
        """
        pooled = see(self.vision, pixels).pooled
        return BagOfWordsOutput(pooled, self.head(pooled))


def _variant(name: str) -> ModelEntry:
    vision, line = backbone(name)
    config = BagOfWordsConfig(vision=vision)
    return ModelEntry(config, BagOfWords, line.image_spec, "Joulin et al. 2016; Radford et al. 2021, Fig. 2")


VARIANTS: dict[str, ModelEntry] = {f"bag_of_words_{name}": _variant(name) for name in ("resnet50", "vit_b32")}
