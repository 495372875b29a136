"""Detection by a residual network under Faster R-CNN with a feature pyramid.

Source: Ren et al. 2015 (arXiv 1506.01497), equation 1; He et al. 2015 (arXiv 1512.03385), section 4.3 and
appendix A: batch norms stay at what they were in pre-training.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch import Tensor, nn

from limner import ranks
from limner.config import Config
from limner.data.boxes import Boxed
from limner.data.transforms import normalise
from limner.models.detector import Detector
from limner.shapes import ImageSpec
from limner.train.steps.task import Draws, StepResult


class DetectionSettings(Config):
    """[objective] kind = "detection".

    Args:
        kind: "detection".
        freeze_norms: batch norms of the backbone keep their statistics and weights, as they must when a
            batch has few pictures; for a backbone that has been trained before.
        mirror: share of the pictures that are mirrored, [0, 1].
        rpn: weight of both terms of the proposals.
        cls: weight of naming the regions.
        box: weight of moving them.
    """

    kind: Literal["detection"]
    freeze_norms: bool = True
    mirror: float = Field(default=0.5, ge=0, le=1)
    rpn: float = Field(default=1.0, ge=0)
    cls: float = Field(default=1.0, ge=0)
    box: float = Field(default=1.0, ge=0)


class DetectionStep(NamedTuple):
    """A `Step`.

    Args:
        settings: weights of the terms, and mirroring.
        spec: preprocessing of the model.
    """

    settings: DetectionSettings
    spec: ImageSpec

    @property
    def sparing(self) -> bool:
        """True: a batch without a thing, or a level without a region, leaves weights without a gradient."""
        return True

    def __call__(self, model: nn.Module, state: Draws, batch: Boxed, step: int, /) -> StepResult:
        """Losses of one batch; takes no optimiser step."""
        assert isinstance(model, Detector)
        settings = self.settings
        draws = torch.rand(
            len(batch.keys) * ranks.size(), generator=state.generator, device=batch.images.device
        )
        chosen = ranks.own(draws < settings.mirror)
        images, boxes = mirrored(batch.images, batch.boxes, chosen)
        terms = model.losses(normalise(images, self.spec), boxes, batch.labels)
        weights = {"rpn": settings.rpn, "rpn_box": settings.rpn, "cls": settings.cls, "box": settings.box}
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return StepResult(loss, terms, {}, state)

    def settle(self, model: nn.Module) -> None:
        """Nothing to hold."""


def mirrored(
    images: UInt8[Tensor, "b 3 y x"], boxes: Float[Tensor, "b n 4"], chosen: Int[Tensor, " b"] | Tensor
) -> tuple[UInt8[Tensor, "b 3 y x"], Float[Tensor, "b n 4"]]:
    """Some pictures left for right, and the boxes with them.

    Args:
        images: u8.
        boxes: x0, y0, x1, y1 in pixels.
        chosen: True for those to mirror.
    """
    width = images.shape[-1]
    x0, y0, x1, y1 = boxes.unbind(-1)
    flipped = torch.stack([width - x1, y0, width - x0, y1], dim=-1)
    return (
        torch.where(chosen[:, None, None, None], images.flip(3), images),
        torch.where(chosen[:, None, None], flipped, boxes),
    )
