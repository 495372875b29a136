"""Fine-tuning BLIP on statements about two pictures.

Checked against: cross entropy of whole forward passes, one statement at a time.
Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.4.
"""

from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from limner.config import Config
from limner.data.question_batches import Statements
from limner.data.transforms import normalise
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class NLVR2Settings(Config):
    """[objective] kind = "nlvr2".

    Args:
        kind: "nlvr2".
    """

    kind: Literal["nlvr2"]


class NLVR2Step(NamedTuple):
    """A `Step`.

    Args:
        settings: none so far.
        spec: preprocessing of the model.
    """

    settings: NLVR2Settings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Statements, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, BLIPNLVR2)
        left, right = normalise(batch.left, self.spec), normalise(batch.right, self.spec)
        logits = model(left, right, batch.ids, batch.mask).logits.float()
        loss = functional.cross_entropy(logits, batch.truths)
        with torch.no_grad():
            said = logits.argmax(1)
            stats = {"accuracy": (said == batch.truths).float().mean(), "said_true": said.float().mean()}
        return StepResult(loss, {"nlvr2": loss}, stats, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
