"""Image–text contrast: BLIP's ITC with momentum teacher, queue and soft labels, and CLIP's symmetric InfoNCE.

Implements: ITC as released (similarities *divided* by a learned temperature; candidates are the teacher's
features of the batch and of the queue; targets α·softmax(teacher) + (1 − α)·hard), with BLIP's retrieval
form, where the hard target is shared by all candidates of the same picture, when picture ids are given.
Also: CLIP's loss over all ranks with memory by the chunk, its gradient computed on the way.
Checked against: double loops written from the equations.

Source: Li et al. 2021 (ALBEF, arXiv 2107.07651), eq. 1 and 6; Li et al. 2022 (BLIP, arXiv 2201.12086),
section 3.2; Radford et al. 2021 (CLIP, arXiv 2103.00020), figure 3.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from limner import ranks
from limner.objectives.momentum import FeatureQueue

TEMPERATURE_RANGE = (0.001, 0.5)


@torch.no_grad()
def clamp_temperature(temperature: Float[Tensor, ""]) -> None:
    """Hold the learned temperature in BLIP's range [.001, .5], in place; call it before each forward."""
    temperature.clamp_(*TEMPERATURE_RANGE)


def itc_loss(
    image_embed: Float[Tensor, "b e"],
    text_embed: Float[Tensor, "b e"],
    teacher_image: Float[Tensor, "n e"],
    teacher_text: Float[Tensor, "n e"],
    queue: FeatureQueue,
    temperature: Float[Tensor, ""] | float,
    alpha: float,
    image_ids: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, ""]:
    """Contrast each picture with the teacher's texts, and each text with the teacher's pictures.

    Args:
        image_embed: the student's unit vectors of this rank; gradients flow.
        text_embed: the student's unit vectors of this rank; gradients flow.
        teacher_image: the teacher's unit vectors of all ranks, without gradients.
        teacher_text: the teacher's unit vectors of all ranks, without gradients.
        queue: earlier teacher features, more candidates; may be of size 0.
        temperature: divides similarities.
        alpha: weight of the teacher's soft labels, [0, 1].
        image_ids: ≥ 0; equal ids are the same picture and share the hard target. None: row r matches row r.
    Returns: the mean of both directions over this rank's rows, nats.
    Source: ALBEF eq. 6; BLIP section 3.2.
    """
    hard = ranks.own(_hard_targets(teacher_image, queue.ids, image_ids))
    image_loss = _direction(image_embed, teacher_image, teacher_text, queue.text, temperature, alpha, hard)
    text_loss = _direction(text_embed, teacher_text, teacher_image, queue.image, temperature, alpha, hard)
    return (image_loss + text_loss) / 2


def _direction(
    query: Float[Tensor, "b e"],
    teacher_query: Float[Tensor, "n e"],
    teacher_key: Float[Tensor, "n e"],
    queued_key: Float[Tensor, "q e"],
    temperature: Float[Tensor, ""] | float,
    alpha: float,
    hard: Float[Tensor, "b c"],
) -> Float[Tensor, ""]:
    with torch.no_grad():
        keys = torch.cat([teacher_key, queued_key.to(teacher_key.dtype)]).T
        soft = (ranks.own(teacher_query) @ keys / temperature).float().softmax(dim=1)
        targets = torch.lerp(hard, soft, alpha)
    return functional.cross_entropy((query @ keys / temperature).float(), targets)


def _hard_targets(
    embed: Float[Tensor, "n e"], queue_ids: Int[Tensor, " q"], image_ids: Int[Tensor, " n"] | None
) -> Float[Tensor, "n c"]:
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


def clip_loss(
    image_embed: Float[Tensor, "b e"],
    text_embed: Float[Tensor, "b e"],
    logit_scale: Float[Tensor, ""],
    chunk: int = 0,
) -> Float[Tensor, ""]:
    """`info_nce` among the pairs of all ranks, each rank taking the rows of its own pictures.

    Texts are gathered, pictures are not: a rank computes its slab of the similarities, and what the other
    direction lacks is one number a text, summed over ranks. The gradient is made in the forward pass, chunk
    by chunk, from similarities that are computed twice; memory grows with `chunk · n`, not with n².

    Args:
        image_embed: this rank's unit vectors.
        text_embed: this rank's unit vectors; row r belongs to row r of `image_embed`.
        logit_scale: multiplies similarities.
        chunk: rows of similarities held at once; 0 is as many as make 64 MB.
    Returns: the mean over all pairs and both directions, the same on every rank; averaged over ranks its
        gradients are those of one big batch.
    Source: CLIP figure 3 and section 2.5.
    """
    loss: Tensor = _Contrast.apply(image_embed, text_embed, logit_scale, chunk)
    return loss


class _Contrast(torch.autograd.Function):
    """Loss and gradients of `clip_loss`; backwards only scales them."""

    @staticmethod
    @torch.no_grad()
    def forward(ctx: Any, image: Tensor, text: Tensor, scale: Tensor, chunk: int) -> Tensor:
        texts = ranks.gathered(text)
        count, first = len(texts), ranks.rank() * len(image)
        rows = chunk or max(1, 2**24 // count)
        row_sums, column_sums, matched = _log_sums(image, texts, scale, rows, first)
        grads = [torch.zeros_like(part, dtype=torch.float32) for part in (image, texts)]
        scale_grad = torch.zeros((), device=image.device)
        for start in range(0, len(image), rows):
            some = slice(start, min(start + rows, len(image)))
            cosines = (image[some] @ texts.T).float()
            logits = cosines * scale.float()
            pull = (logits - row_sums[some, None]).exp_().add_(logits.sub_(column_sums).exp_())
            pull.diagonal(first + start)[: len(pull)] -= 2
            pull /= 2 * count
            scale_grad += (pull * cosines).sum()
            pull *= scale.float()
            grads[0][some] = (pull.to(texts.dtype) @ texts).float()
            grads[1] += (pull.to(image.dtype).T @ image[some]).float()
        loss = (row_sums - matched).sum() + ranks.own(column_sums).sum() - matched.sum()
        if ranks.size() > 1:
            for shared in (grads[1], loss):
                dist.all_reduce(shared)
        ctx.save_for_backward(grads[0], ranks.own(grads[1]), scale_grad)
        ctx.dtypes = image.dtype, text.dtype, scale.dtype
        return loss / (2 * count)

    @staticmethod
    def backward(ctx: Any, *asked: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        grads = (
            (asked[0] * ranks.size() * grad).to(dtype)
            for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        image, text, scale = grads
        return image, text, scale, None


def _log_sums(
    image: Tensor, texts: Tensor, scale: Tensor, rows: int, first: int
) -> tuple[Float[Tensor, " b"], Float[Tensor, " n"], Float[Tensor, " b"]]:
    """Log-sum-exp of this rank's rows, of all columns over all ranks, and the logits of the pairs."""
    row_sums, matched, columns = [], [], torch.full((len(texts),), -torch.inf, device=image.device)
    for start in range(0, len(image), rows):
        some = image[start : start + rows]
        logits = (some @ texts.T).float() * scale.float()
        row_sums.append(logits.logsumexp(1))
        matched.append(logits.diagonal(first + start)[: len(some)].clone())
        columns = torch.logaddexp(columns, logits.logsumexp(0))
    if ranks.size() > 1:
        columns = ranks.gathered(columns[None]).logsumexp(0)
    return torch.cat(row_sums), columns, torch.cat(matched)
