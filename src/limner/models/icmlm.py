"""Sariyildiz et al. 2020, Learning Visual Representations with Caption Annotations (ICMLM, arXiv 2008.01392).

Implements: prediction of a masked word of the caption with the help of the picture, in two forms: "att_fc",
    where the masked word's vector attends over the grid and what it reads is classified, and "tfm", a
    transformer over grid and caption, read at the masked word; and "tp", tags from the picture alone. All
    have the tag head.
Differs from the paper: its BERT comes pre-trained and frozen; here the text tower starts afresh and learns,
    unless `optim.only` rests it, since no weights come with limner. The paper's concepts are nouns, verbs and
    adjectives by a tagger; here they are the frequent words that are no function words (`data/worded.py`).
Checked against: attention over the grid written as a loop; masks by changing what is behind them.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from limner.config import Config
from limner.models.bert import MLP, BertConfig, SelfAttention
from limner.models.entry import ModelEntry
from limner.models.layers import init_transformer
from limner.models.towers import (
    EncoderConfig,
    backbone,
    encoder_of,
    require_headless,
    see,
    text_tower,
    width_of,
)

Form = Literal["tp", "att_fc", "tfm"]


class ICMLMConfig(Config):
    """Sizes of a model of masked words.

    Args:
        vision: the encoder that is to learn, without a classifier.
        text: the tower that reads captions; not there in the form "tp".
        form: see the top of this file.
        num_concepts: words that may be masked.
        fusion_depth: layers of the transformer of "tfm".
    """

    vision: EncoderConfig
    text: BertConfig
    form: Form = "tfm"
    num_concepts: int = Field(default=1000, ge=1)
    fusion_depth: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _encoder_alone(self) -> "ICMLMConfig":
        require_headless(self.vision)
        return self


class ICMLMOutput(NamedTuple):
    """What the model tells of pictures and captions with a masked word.

    Args:
        pooled: the picture's vector.
        tags: a score a concept, from the picture alone.
        concepts: a score a concept for the masked word; `tags` again in the form "tp".
    """

    pooled: Float[Tensor, "b d"]
    tags: Float[Tensor, "b k"]
    concepts: Float[Tensor, "b k"]


class AttendedWord(nn.Module):
    """The masked word's vector attends over the grid; a layer and GELU follow what it reads.

    Args:
        config: sizes.
    Source: section 3.2, "att+fc".
    """

    def __init__(self, config: ICMLMConfig) -> None:
        super().__init__()
        width, cells = config.text.width, width_of(config.vision)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(cells, width)
        self.value = nn.Linear(cells, width)
        self.fc = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))

    def forward(
        self,
        cells: Float[Tensor, "b n c"],
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        place: Int[Tensor, " b"],
    ) -> Float[Tensor, "b d"]:
        """Return what the word at `place` reads in the picture."""
        rows = torch.arange(len(tokens), device=tokens.device)
        query = self.query(tokens[rows, place])
        shares = ((self.key(cells) @ query[..., None]) * query.shape[-1] ** -0.5).softmax(1)
        out: Tensor = self.fc((shares * self.value(cells)).sum(1))
        return out


class FusedWord(nn.Module):
    """A transformer over the grid and the caption; the masked word's vector is read at its end.

    Args:
        config: sizes.
    Source: section 3.2, "tfm".
    """

    def __init__(self, config: ICMLMConfig) -> None:
        super().__init__()
        text = config.text
        self.project = nn.Linear(width_of(config.vision), text.width)
        self.types = nn.Parameter(torch.zeros(2, text.width))
        self.norm = nn.LayerNorm(text.width, text.layer_norm_eps)
        self.attention = nn.ModuleList(SelfAttention(text) for _ in range(config.fusion_depth))
        self.mlp = nn.ModuleList(MLP(text) for _ in range(config.fusion_depth))

    def forward(
        self,
        cells: Float[Tensor, "b n c"],
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        place: Int[Tensor, " b"],
    ) -> Float[Tensor, "b d"]:
        """Return the vector of the word at `place`."""
        grid = self.project(cells) + self.types[0]
        x = self.norm(torch.cat([grid, tokens + self.types[1]], 1))
        seen = torch.ones(grid.shape[:2], dtype=torch.bool, device=grid.device)
        look = torch.cat([seen, mask], 1)[:, None, None]
        for attention, mlp in zip(self.attention, self.mlp, strict=True):
            assert isinstance(attention, SelfAttention)
            x = mlp(attention(x, *attention.project(x), look, False))
        out: Tensor = x[torch.arange(len(x), device=x.device), grid.shape[1] + place]
        return out


class ICMLM(nn.Module):
    """An image encoder that helps to find a masked word.

    Args:
        config: sizes.
    Source: section 3.
    """

    def __init__(self, config: ICMLMConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = encoder_of(config.vision)
        self.tags = nn.Linear(width_of(config.vision), config.num_concepts)
        init_transformer(self.tags, config.text.init_std)
        self.text, self.fusion, self.head = None, None, None
        if config.form != "tp":
            self.text = text_tower(config.text)
            self.fusion = (AttendedWord if config.form == "att_fc" else FusedWord)(config)
            self.head = nn.Linear(config.text.width, config.num_concepts)
            for part in (*self.fusion.modules(), self.head):
                init_transformer(part, config.text.init_std)

    def forward(
        self,
        pixels: Float[Tensor, "b 3 y x"],
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
        place: Int[Tensor, " b"],
    ) -> ICMLMOutput:
        """Read pictures, and captions one word of which is masked.

        Args:
            pixels: `normed`, of the encoder's size.
            ids: tokens, the masked one replaced; padded on the right.
            mask: True where a token is real.
            place: of the masked word.
        """
        seen = see(self.vision, pixels)
        tags = self.tags(seen.pooled)
        if self.text is None or self.fusion is None or self.head is None:
            return ICMLMOutput(seen.pooled, tags, tags)
        word = self.fusion(seen.tokens, self.text(ids, mask), mask, place)
        return ICMLMOutput(seen.pooled, tags, self.head(word))


def _variant(name: str, form: Form) -> ModelEntry:
    vision, line = backbone(name)
    text = BertConfig(vocab_size=30_522, width=768, depth=12, num_heads=12, mlp_dim=3072, memory_width=768)
    config = ICMLMConfig(vision=vision, text=text, form=form)
    return ModelEntry(config, ICMLM, line.image_spec, "Sariyildiz et al. 2020")


VARIANTS: dict[str, ModelEntry] = {
    "icmlm_tp_resnet50": _variant("resnet50", "tp"),
    "icmlm_att_fc_resnet50": _variant("resnet50", "att_fc"),
    "icmlm_resnet50": _variant("resnet50", "tfm"),
    "icmlm_vit_b32": _variant("vit_b32", "tfm"),
}
