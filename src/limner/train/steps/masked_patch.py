"""Masked patch prediction, the self-supervision of ViT.

Source: Dosovitskiy et al. 2020 (arXiv 2010.11929), appendix B.1.2.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from limner import ranks
from limner.config import Config
from limner.data.batches import Pictures
from limner.data.transforms import normalise
from limner.models.masked_patch import MaskedPatch, corruption_plan, mean_colours
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class MaskedPatchSettings(Config):
    """[objective] kind = "masked_patch".

    Args:
        kind: "masked_patch".
        rate: share of the patches that are corrupted, (0, 1].
    """

    kind: Literal["masked_patch"]
    rate: float = Field(default=0.5, gt=0, le=1)


class MaskedPatchStep(NamedTuple):
    """A `Step`.

    Args:
        settings: how much is corrupted.
        spec: preprocessing of the model.
    """

    settings: MaskedPatchSettings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Pictures, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, MaskedPatch)
        size = model.config.vision.patch_size
        colours = mean_colours(batch.images.float() / 255, size)
        everybody = len(colours) * ranks.size()
        plan = corruption_plan(everybody, colours.shape[1], state.generator, rate=self.settings.rate)
        hidden, source = ranks.own(plan.corrupted), ranks.own(plan.source)
        read = model(normalise(batch.images, self.spec), source)
        total = functional.cross_entropy(read.logits[hidden].float(), colours[hidden], reduction="sum")
        loss = ranks.mean_of(total, hidden.sum())
        with torch.no_grad():
            right = (read.logits[hidden].argmax(1) == colours[hidden]).float().mean()
        return StepResult(loss, {"masked_patch": loss}, {"accuracy": right}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
