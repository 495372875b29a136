"""Classification of pictures by ResNets and ViTs: from scratch, fine-tuned, or the head alone.

Source: He et al. 2015 (arXiv 1512.03385), section 3.4; Dosovitskiy et al. 2020 (arXiv 2010.11929), appendix
B.1; Steiner et al. 2021 (AugReg, arXiv 2106.10270) for mixup.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.config import Config
from limner.data.batches import Labelled
from limner.data.transforms import normalise
from limner.objectives.classification import accuracy, classification_loss, mixed, soft_targets
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class ClassificationSettings(Config):
    """[objective] kind = "classification".

    Args:
        kind: "classification".
        label_smoothing: ε of the targets, [0, 1).
        loss: "softmax", or "sigmoid" for one question a class.
        mixup: α of the shares that pictures are mixed in; 0 is off.
        cutmix: likewise for windows; with both, a coin decides for each batch.
    """

    kind: Literal["classification"]
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    loss: Literal["softmax", "sigmoid"] = "softmax"
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)


class ClassificationStep(NamedTuple):
    """A `Step`.

    Args:
        settings: loss and mixing.
        spec: preprocessing of the model.
        classes: how many there are.
    """

    settings: ClassificationSettings
    spec: ImageSpec
    classes: int

    @property
    def sparing(self) -> bool:
        """False."""
        return False

    def __call__(self, model: nn.Module, state: Draws, batch: Labelled, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        settings = self.settings
        targets = soft_targets(batch.labels, self.classes, settings.label_smoothing)
        pixels = normalise(batch.images, self.spec)
        pixels, targets = mixed(pixels, targets, state.generator, settings.mixup, settings.cutmix)
        read = model(pixels)
        loss = classification_loss(read.logits, targets, settings.loss)
        with torch.no_grad():
            right: Tensor = accuracy(read.logits, batch.labels)
        return StepResult(loss, {"classification": loss}, {"accuracy": right}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""
