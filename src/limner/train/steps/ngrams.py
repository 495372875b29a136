"""Visual n-grams: what the picture says of the n-grams of its caption.

Source: Li et al. 2017 (arXiv 1612.09161), section 3.2.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Int64
from pydantic import Field
from torch import Tensor, nn

from limner import ranks
from limner.config import Config
from limner.data.ngram_dictionary import NGrammed
from limner.data.transforms import normalise
from limner.models.ngrams import NGrams
from limner.objectives.ngrams import jelinek_mercer_losses, naive_losses
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class NGramsSettings(Config):
    """[objective] kind = "ngrams".

    Args:
        kind: "ngrams".
        loss: "jelinek_mercer" is smoothed from long n-grams to short ones, "naive" counts each by itself.
        weight: λ, of the longer n-gram, (0, 1).
        size: most n-grams of the dictionary that is grown from the texts.
        order: longest n-gram, words.
        min_count: rarer n-grams are left out of the dictionary.
    """

    kind: Literal["ngrams"]
    loss: Literal["jelinek_mercer", "naive"] = "jelinek_mercer"
    weight: float = Field(default=0.2, gt=0, lt=1)
    size: int = Field(default=20_000, ge=1)
    order: int = Field(default=5, ge=1, le=9)
    min_count: int = Field(default=5, ge=1)


class NGramsStep(NamedTuple):
    """A `Step`.

    Args:
        settings: the loss.
        spec: preprocessing of the model.
        prefixes: of the dictionary.
    """

    settings: NGramsSettings
    spec: ImageSpec
    prefixes: Int64[Tensor, " d"]

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: NGrammed, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, NGrams)
        logits = model(normalise(batch.images, self.spec)).logits
        prefixes = self.prefixes.to(logits.device)
        smoothed = jelinek_mercer_losses(logits, batch.ngrams, prefixes, self.settings.weight)
        losses = smoothed if self.settings.loss == "jelinek_mercer" else naive_losses(logits, batch.ngrams)
        loss = ranks.mean_of(losses.total.sum(), losses.counted.sum())
        with torch.no_grad():
            per_word = smoothed.total.sum() / smoothed.counted.sum().clamp(min=1)
        return StepResult(loss, {"ngrams": loss}, {"perplexity": per_word.exp()}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
