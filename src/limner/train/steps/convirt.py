"""ConVIRT: contrast of pictures and texts, weighted towards one direction.

Source: Zhang et al. 2020 (arXiv 2010.00747), section 3.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn

from limner.config import Config
from limner.data.transforms import normalise
from limner.data.worded import Worded
from limner.models.convirt import ConVIRT
from limner.objectives.convirt import convirt_loss
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class ConVIRTSettings(Config):
    """[objective] kind = "convirt"; the temperature is the model's.

    Args:
        kind: "convirt".
        weight: λ, of the direction from pictures to texts, [0, 1].
    """

    kind: Literal["convirt"]
    weight: float = Field(default=0.75, ge=0, le=1)


class ConVIRTStep(NamedTuple):
    """A `Step`.

    Args:
        settings: the weight of a direction.
        spec: preprocessing of the model.
    """

    settings: ConVIRTSettings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Worded, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, ConVIRT)
        image, text = model(normalise(batch.images, self.spec), batch.ids, batch.mask)
        loss = convirt_loss(image, text, model.config.temperature, self.settings.weight)
        with torch.no_grad():
            cosines = image @ text.T
            right = (cosines.argmax(1) == torch.arange(len(text), device=text.device)).float().mean()
            stats = {
                "accuracy": right,
                "pair_cosine": cosines.diagonal().mean(),
                "mean_cosine": cosines.mean(),
            }
        return StepResult(loss, {"convirt": loss}, stats, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
