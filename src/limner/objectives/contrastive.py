"""Image–text contrast: BLIP's ITC with momentum teacher, queue and soft labels, and CLIP's symmetric InfoNCE.

Implements: ITC as released (similarities *divided* by a learned temperature; candidates are the teacher's
features of the batch and of the queue; targets α·softmax(teacher) + (1 − α)·hard), with BLIP's retrieval
form, where the hard target is shared by all candidates of the same picture, when picture ids are given.
Checked against: double loops written from the equations.

Source: Li et al. 2021 (ALBEF, arXiv 2107.07651), eq. 1 and 6; Li et al. 2022 (BLIP, arXiv 2201.12086),
section 3.2; Radford et al. 2021 (CLIP, arXiv 2103.00020), figure 3.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from limner.objectives.momentum import FeatureQueue

TEMPERATURE_RANGE = (0.001, 0.5)


@torch.no_grad()
def clamp_temperature(temperature: Float[Tensor, ""]) -> None:
    """Hold the learned temperature in BLIP's range [.001, .5], in place; call it before each forward."""
    temperature.clamp_(*TEMPERATURE_RANGE)


def itc_loss(
    image_embed: Float[Tensor, "b e"],
    text_embed: Float[Tensor, "b e"],
    teacher_image: Float[Tensor, "b e"],
    teacher_text: Float[Tensor, "b e"],
    queue: FeatureQueue,
    temperature: Float[Tensor, ""] | float,
    alpha: float,
    image_ids: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Contrast each picture with the teacher's texts, and each text with the teacher's pictures.

    Args:
        image_embed: the student's unit vectors; gradients flow.
        text_embed: the student's unit vectors; gradients flow.
        teacher_image: the teacher's unit vectors, without gradients.
        teacher_text: the teacher's unit vectors, without gradients.
        queue: earlier teacher features, more candidates; may be of size 0.
        temperature: divides similarities.
        alpha: weight of the teacher's soft labels, [0, 1].
        image_ids: ≥ 0; equal ids are the same picture and share the hard target. None: row r matches row r.
    Returns: the mean of both directions, nats.
    Source: ALBEF eq. 6; BLIP section 3.2.
    """
    hard = _hard_targets(image_embed, queue.ids, image_ids)
    image_loss = _direction(image_embed, teacher_image, teacher_text, queue.text, temperature, alpha, hard)
    text_loss = _direction(text_embed, teacher_text, teacher_image, queue.image, temperature, alpha, hard)
    return (image_loss + text_loss) / 2


def _direction(
    query: Float[Tensor, "b e"],
    teacher_query: Float[Tensor, "b e"],
    teacher_key: Float[Tensor, "b e"],
    queued_key: Float[Tensor, "q e"],
    temperature: Float[Tensor, ""] | float,
    alpha: float,
    hard: Float[Tensor, "b c"],
) -> Float[Tensor, ""]:
    with torch.no_grad():
        keys = torch.cat([teacher_key, queued_key.to(teacher_key.dtype)]).T
        soft = (teacher_query @ keys / temperature).float().softmax(dim=1)
        targets = torch.lerp(hard, soft, alpha)
    return functional.cross_entropy((query @ keys / temperature).float(), targets)


def _hard_targets(
    embed: Float[Tensor, "b e"], queue_ids: Int[Tensor, " q"], image_ids: Int[Tensor, " b"] | None
) -> Float[Tensor, "b c"]:
    batch = len(embed)
    if image_ids is None:
        return torch.eye(batch, batch + len(queue_ids), device=embed.device)
    same = (image_ids[:, None] == torch.cat([image_ids, queue_ids])).float()
    return same / same.sum(dim=1, keepdim=True)


def info_nce(
    image_embed: Float[Tensor, "b e"],
    text_embed: Float[Tensor, "b e"],
    logit_scale: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """CLIP's loss: cross entropy of the pairs among the batch, mean of both directions.

    Args:
        image_embed: unit vectors.
        text_embed: unit vectors; row r belongs to row r of `image_embed`.
        logit_scale: multiplies similarities; CLIP's is exp of its parameter, at most 100.
    Source: CLIP figure 3.
    """
    logits = (logit_scale * image_embed @ text_embed.T).float()
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2
