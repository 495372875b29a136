"""Fine-tuning BLIP on questions about pictures.

The question encoder reads the picture, the answer decoder learns each answer that people gave; a question's
answers share its keys and values, and words are scored only where a token follows. As in the released code
the losses of an answer's tokens are summed, weighed by the answer's share and divided by the questions.
Checked against: a loop over answers and tokens through whole forward passes.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.3; its `blip_vqa.py` for the reduction.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from limner.config import Config
from limner.data.question_batches import Questions
from limner.data.transforms import normalise
from limner.models.blip import start_with
from limner.models.blip_vqa import BLIPVQA
from limner.objectives.captioning import lm_targets
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class VQASettings(Config):
    """[objective] kind = "vqa".

    Args:
        kind: "vqa".
        label_smoothing: of the answers' tokens, [0, 1).
    """

    kind: Literal["vqa"]
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)


class VQAStep(NamedTuple):
    """A `Step`.

    Args:
        settings: the smoothing.
        spec: preprocessing of the model.
    """

    settings: VQASettings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Questions, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, BLIPVQA)
        tokens = model.encode_image(normalise(batch.images, self.spec))
        memory = model.question_memory(tokens, batch.ids, batch.mask)
        rows, places = batch.answer_mask.any(2).nonzero(as_tuple=True)
        ids, mask = batch.answer_ids[rows, places], batch.answer_mask[rows, places]
        read = model.text_decoder(start_with(ids, model.config.dec_id), memory=memory.rows(rows), causal=True)
        keep, targets = lm_targets(ids, mask)
        logits = model.write(read[keep][None])[0].float()
        weights = batch.weights[rows, places].repeat_interleave(keep.sum(1))
        losses = functional.cross_entropy(
            logits, targets, reduction="none", label_smoothing=self.settings.label_smoothing
        )
        loss = (weights * losses).sum() / len(batch.ids)
        return StepResult(loss, {"vqa": loss}, {"token_accuracy": _right(logits, targets, weights)}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""


@torch.no_grad()
def _right(
    logits: Float[Tensor, "n v"], targets: Int[Tensor, " n"], weights: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Share of the answers' tokens that would have been chosen, each with its answer's weight."""
    right: Tensor = (logits.argmax(1) == targets).float() * weights
    return right.sum() / weights.sum().clamp(min=1e-6)
