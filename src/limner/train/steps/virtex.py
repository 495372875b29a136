"""Captioning from left to right and from right to left, so that the image encoder learns.

Source: Desai & Johnson 2021 (VirTex, arXiv 2006.06666), section 3.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from limner import ranks
from limner.config import Config
from limner.data.transforms import normalise
from limner.data.worded import Worded
from limner.models.virtex import VirTex, reversed_texts
from limner.objectives.captioning import lm_targets
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class VirTexSettings(Config):
    """[objective] kind = "virtex"; a model with `both_ways = false` learns from left to right alone.

    Args:
        kind: "virtex".
        label_smoothing: ε of the targets, [0, 1); the paper has none.
    """

    kind: Literal["virtex"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class VirTexStep(NamedTuple):
    """A `Step`.

    Args:
        settings: the loss.
        spec: preprocessing of the model.
    """

    settings: VirTexSettings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Worded, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, VirTex)
        texts = (batch.ids, reversed_texts(batch.ids, batch.mask))
        decoded = model.decoded(normalise(batch.images, self.spec), texts)
        terms: dict[str, Tensor] = {}
        stats: dict[str, Tensor] = {}
        for name, read, ids in zip(("forward", "backward"), decoded, texts, strict=False):
            keep, targets = lm_targets(ids, batch.mask)
            logits = model.logits(read[keep]).float()
            smoothing = self.settings.label_smoothing
            total = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
            terms[name] = ranks.mean_of(total, len(targets))
            with torch.no_grad():
                stats[f"{name}_accuracy"] = (logits.argmax(1) == targets).float().mean()
                stats[f"{name}_perplexity"] = terms[name].exp()
        loss = torch.stack(list(terms.values())).sum()
        return StepResult(loss, terms, stats, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
