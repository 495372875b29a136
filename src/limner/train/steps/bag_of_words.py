"""Bag-of-words prediction: which words the caption has, from the picture alone.

Source: Joulin et al. 2016 (arXiv 1511.02251); Radford et al. 2021 (CLIP, arXiv 2103.00020), figure 2.
"""

from typing import Literal, NamedTuple

import torch
from torch import nn

from limner import ranks
from limner.config import Config
from limner.data.transforms import normalise
from limner.data.worded import Worded
from limner.models.bag_of_words import BagOfWords
from limner.objectives.bags import bag_losses, bags
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class BagOfWordsSettings(Config):
    """[objective] kind = "bag_of_words".

    Args:
        kind: "bag_of_words".
        loss: "softmax" spreads the target evenly over the caption's words, "sigmoid" asks each by itself.
    """

    kind: Literal["bag_of_words"]
    loss: Literal["softmax", "sigmoid"] = "softmax"


class BagOfWordsStep(NamedTuple):
    """A `Step`.

    Args:
        settings: the loss.
        spec: preprocessing of the model.
        special: tokens that are no words.
    """

    settings: BagOfWordsSettings
    spec: ImageSpec
    special: tuple[int, ...]

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Worded, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, BagOfWords)
        held = bags(batch.ids, model.config.vocab_size, self.special)
        logits = model(normalise(batch.images, self.spec)).logits
        losses = bag_losses(logits, held, self.settings.loss)
        loss = ranks.mean_of(losses.sum(), held.any(1).sum())
        with torch.no_grad():
            right = held.gather(1, logits.argmax(1, keepdim=True)).mean()
        return StepResult(loss, {"bag_of_words": loss}, {"accuracy": right}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
