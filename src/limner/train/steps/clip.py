"""CLIP's contrastive pre-training, at any batch: texts on real length, features part by part, loss by chunks.

Checked against: `info_nce` on the whole batch, its loss and gradients.
Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), figure 3 and section 2.5.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn

from limner.config import Config
from limner.data.batches import Captioned
from limner.data.transforms import normalise
from limner.models.clip import CLIP
from limner.objectives.contrastive import clip_loss
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult, in_parts


class ContrastiveSettings(Config):
    """[objective] kind = "contrastive".

    Args:
        kind: "contrastive".
        part: pictures and texts encoded at once; their activations are made again for the gradient. 0 is
            all at once.
        chunk: rows of similarities held at once; 0 is as many as make 64 MB.
    """

    kind: Literal["contrastive"]
    part: int = Field(default=0, ge=0)
    chunk: int = Field(default=0, ge=0)


class CLIPStep(NamedTuple):
    """A `Step`.

    Args:
        settings: parts and chunks.
        spec: preprocessing of the model.
    """

    settings: ContrastiveSettings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Captioned, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, CLIP)
        part = self.settings.part
        image = in_parts(model.encode_image, normalise(batch.images, self.spec), part, model)
        text = in_parts(model.encode_text, batch.ids, part, model)
        loss = clip_loss(image, text, model.logit_scale, self.settings.chunk)
        with torch.no_grad():
            cosines = image @ text.T
            right = (cosines.argmax(1) == torch.arange(len(text), device=text.device)).float().mean()
            stats = {
                "logit_scale": model.logit_scale.detach().clone(),
                "accuracy": right,
                "pair_cosine": cosines.diagonal().mean(),
                "mean_cosine": cosines.mean(),
            }
        return StepResult(loss, {"contrastive": loss}, stats, state)

    def settle(self, model: nn.Module) -> None:
        """Hold the logit scale at 100 or below."""
        assert isinstance(model, CLIP)
        model.clamp_logit_scale()
