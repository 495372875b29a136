"""Desai & Johnson 2021, VirTex: Learning Visual Representations from Textual Annotations (arXiv 2006.06666).

Implements: an image encoder whose grid, projected, is read by two causal decoders, one from left to right and
    one from right to left; they share word and position embeddings, and the output matrix is the word
    embedding. With `both_ways=False` the left-to-right decoder alone: the paper's forward captioning, and the
    "transformer language model" of CLIP's Figure 2.
Differs from the paper: WordPiece grown from the captions where the paper has SentencePiece; a ViT may stand
    in for the ResNet-50, whose class token is then read with its patches.
Checked against: both decoders as two plain `Bert`s, row by row; parameters of the paper's sizes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.bert import PARTS, Bert, BertConfig
from limner.models.entry import ModelEntry
from limner.models.layers import init_transformer
from limner.models.towers import EncoderConfig, backbone, encoder_of, require_headless, see, width_of


class VirTexConfig(Config):
    """Sizes of a captioner in both directions.

    Args:
        vision: the encoder that is to learn, without a classifier.
        text: of each decoder; `memory_width` is its `width`.
        both_ways: there is a decoder from right to left too.
    """

    vision: EncoderConfig
    text: BertConfig
    both_ways: bool = True

    @model_validator(mode="after")
    def _parts_fit(self) -> "VirTexConfig":
        require_headless(self.vision)
        if self.text.memory_width != self.text.width:
            raise ValueError(
                f"text.memory_width {self.text.memory_width} is not text.width {self.text.width}: "
                "the picture's grid is projected to the width of the text"
            )
        return self


class VirTexOutput(NamedTuple):
    """What the model tells of pictures and captions.

    Args:
        pooled: the picture's vector.
        backward: position t of the reversed text predicts its token t + 1; no columns without that decoder.
        forward: position t predicts token t + 1.
    """

    pooled: Float[Tensor, "b d"]
    backward: Float[Tensor, "b t2 v"]
    forward: Float[Tensor, "b t v"]


def reversed_texts(ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Int[Tensor, "b t"]:
    """Texts from their last token to their first; the padding on the right stays where it is."""
    place = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return ids.gather(1, torch.where(mask, mask.sum(1, keepdim=True) - 1 - place, place))


class VirTex(nn.Module):
    """An image encoder that learns by captioning.

    Args:
        config: sizes.
    Source: section 3, Figure 3.
    """

    def __init__(self, config: VirTexConfig) -> None:
        super().__init__()
        self.config = config
        text = config.text
        self.vision = encoder_of(config.vision)
        self.project = nn.Linear(width_of(config.vision), text.width)
        init_transformer(self.project, text.init_std)
        self.text = Bert(text)
        self.backward_text = Bert(text, twin=self.text, own=PARTS[1:]) if config.both_ways else None
        self.bias = nn.Parameter(torch.zeros(text.vocab_size))

    def decoded(
        self, pixels: Float[Tensor, "b 3 y x"], texts: tuple[Int[Tensor, "b t"], ...]
    ) -> tuple[Float[Tensor, "b t d"], ...]:
        """What each decoder makes of its texts.

        Args:
            pixels: `normed`, of the encoder's size.
            texts: as they are written and, with a second decoder, `reversed_texts`; padded on the right.
        Returns: one vector a token and decoder, for `logits`.
        """
        return self._read(self.project(see(self.vision, pixels).tokens), texts)

    def _read(self, grid: Tensor, texts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        towers = [self.text] if self.backward_text is None else [self.text, self.backward_text]
        return tuple(
            tower(ids, memory=tower.memory(grid), causal=True)
            for tower, ids in zip(towers, texts, strict=False)
        )

    def logits(self, decoded: Float[Tensor, "*b d"]) -> Float[Tensor, "*b v"]:
        """Scores of the next token, by the matrix of the word embedding."""
        return F.linear(decoded, self.text.embeddings.words.weight, self.bias)

    def forward(
        self,
        pixels: Float[Tensor, "b 3 y x"],
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> VirTexOutput:
        """Read pictures and their captions.

        Args:
            pixels: `normed`, of the encoder's size.
            ids: tokens, padded on the right.
            mask: True where a token is real; None when all are.
        """
        seen = see(self.vision, pixels)
        mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        read = self._read(self.project(seen.tokens), (ids, reversed_texts(ids, mask)))
        scores = [self.logits(tokens) for tokens in read]
        backward = scores[1] if self.config.both_ways else scores[0][:, :0]
        return VirTexOutput(seen.pooled, backward, scores[0])


def _variant(name: str, width: int, *, both_ways: bool = True) -> ModelEntry:
    vision, line = backbone(name)
    sizes = {"depth": 1, "num_heads": width // 64, "mlp_dim": 4 * width, "layer_norm_eps": 1e-8}
    text = BertConfig(vocab_size=10_000, width=width, memory_width=width, max_positions=30, **sizes)
    config = VirTexConfig(vision=vision, text=text, both_ways=both_ways)
    return ModelEntry(config, VirTex, line.image_spec, "Desai & Johnson 2021")


VARIANTS: dict[str, ModelEntry] = {
    "virtex_resnet50": _variant("resnet50", 2048),
    "virtex_resnet50_forward": _variant("resnet50", 2048, both_ways=False),
    "virtex_vit_b32": _variant("vit_b32", 1024),
}
