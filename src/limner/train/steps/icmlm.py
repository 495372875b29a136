"""Masked words of captions, found with the help of the picture.

Source: Sariyildiz et al. 2020 (ICMLM, arXiv 2008.01392), section 3.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn

from limner import ranks
from limner.config import Config
from limner.data.transforms import normalise
from limner.data.worded import Tagged
from limner.models.icmlm import ICMLM
from limner.objectives.bags import bag_losses, bags
from limner.objectives.masked_word import choose_word, masked_word_losses, with_mask
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class ICMLMSettings(Config):
    """[objective] kind = "icmlm".

    Args:
        kind: "icmlm".
        concepts: most words that may be masked: the frequent ones that are no function words.
        tags: weight of predicting all concepts of the caption from the picture alone, ≥ 0; a model of the
            form "tp" learns nothing else.
    """

    kind: Literal["icmlm"]
    concepts: int = Field(default=1000, ge=2)
    tags: float = Field(default=1.0, ge=0)


class ICMLMStep(NamedTuple):
    """A `Step`.

    Args:
        settings: weights.
        spec: preprocessing of the model.
        mask_id: token that stands for a masked word.
    """

    settings: ICMLMSettings
    spec: ImageSpec
    mask_id: int

    @property
    def sparing(self) -> bool:
        """True: a batch may hold no concept, and tags may have weight 0."""
        return True

    def __call__(self, model: nn.Module, state: Draws, batch: Tagged, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, ICMLM)
        everybody = len(batch.ids) * ranks.size()
        draws = ranks.own(torch.rand(everybody, generator=state.generator, device=state.generator.device))
        choice = choose_word(batch.concepts, draws)
        ids = with_mask(batch.ids, choice, self.mask_id)
        read = model(normalise(batch.images, self.spec), ids, batch.mask, choice.place)
        held = bags(batch.concepts, model.config.num_concepts)
        counted = (choice.concept >= 0).sum()
        tags = ranks.mean_of(bag_losses(read.tags, held, "sigmoid").sum(), counted) / held.shape[1]
        masked = ranks.mean_of(masked_word_losses(read.concepts, choice.concept).sum(), counted)
        with torch.no_grad():
            right = (read.concepts.argmax(1) == choice.concept).sum() / counted.clamp(min=1)
        if model.config.form == "tp":
            return StepResult(tags, {"tags": tags}, {"accuracy": right}, state)
        loss = masked + self.settings.tags * tags
        return StepResult(loss, {"masked": masked, "tags": tags}, {"accuracy": right}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
