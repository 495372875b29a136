"""The momentum teacher and its queue of features, as MoCo, ALBEF and BLIP have them.

Implements: teacher ← m·teacher + (1 − m)·student over parameters only; a ring of the teacher's last features
per modality; the ramp of the soft-label weight α.
Differs: the queue is a value that goes in and comes out, so a checkpoint holds it and a test can look at it.
Checked against: a ring written as a Python list, and an element-wise loop for the teacher.

Source: He et al. 2020 (arXiv 1911.05722), eq. 2; Li et al. 2022 (BLIP, arXiv 2201.12086), section 3.2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from limner.errors import ShapeError

NO_ID = -100
"""The picture id of a queue slot that no batch has filled yet; a real id is never negative."""


class FeatureQueue(NamedTuple):
    """A ring of the teacher's last features, the extra candidates of the contrastive loss.

    Args:
        image: unit vectors, `Float[Tensor, "q e"]`.
        text: unit vectors, `Float[Tensor, "q e"]`; row r belongs to the same pair as row r of `image`.
        ids: picture id of each row, `Int[Tensor, " q"]`; `NO_ID` where the slot is unfilled.
        position: next slot to write, in [0, q).
    """

    image: Tensor
    text: Tensor
    ids: Tensor
    position: int


def empty_queue(size: int, embed_dim: int, generator: torch.Generator) -> FeatureQueue:
    """Make a queue of random unit vectors on the generator's device, as BLIP starts.

    Args:
        size: slots, ≥ 0; 0 is no queue at all.
        embed_dim: width of the joint space.
        generator: source of the random vectors.
    """
    image, text = (
        functional.normalize(
            torch.randn(size, embed_dim, generator=generator, device=generator.device), dim=-1
        )
        for _ in range(2)
    )
    return FeatureQueue(image, text, torch.full((size,), NO_ID, device=generator.device), 0)


@torch.no_grad()
def push(
    queue: FeatureQueue, image: Float[Tensor, "b e"], text: Float[Tensor, "b e"], ids: Int[Tensor, " b"]
) -> FeatureQueue:
    """Return the queue with its oldest rows replaced by this batch; call it after the loss.

    Args:
        queue: the queue before; it is left as it was.
        image: the teacher's unit vectors.
        text: the teacher's unit vectors.
        ids: picture ids, ≥ 0.
    Returns: the queue after.
    Raises: ShapeError when the queue size is no multiple of the batch size.
    """
    size, batch = len(queue.ids), len(ids)
    if size == 0:
        return queue
    if size % batch:
        raise ShapeError(
            f"a queue of {size} with a (global) batch of {batch}",
            wanted="a queue size that is a multiple of the batch size",
            hint=f"use a queue of {max(1, size // batch) * batch}, or 0 for none",
        )
    slots = (queue.position + torch.arange(batch, device=queue.ids.device)) % size
    return FeatureQueue(
        queue.image.index_copy(0, slots, image.to(queue.image.dtype)),
        queue.text.index_copy(0, slots, text.to(queue.text.dtype)),
        queue.ids.index_copy(0, slots, ids.to(queue.ids.dtype)),
        (queue.position + batch) % size,
    )


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters towards the student's, in place: m·teacher + (1 − m)·student.

    Call it before the teacher's forward pass (BLIP's order). Buffers are left alone.

    Args:
        teacher: a copy of the student, or of some of its parts under the same names.
        student: the model in training.
        momentum: m in [0, 1]; BLIP .995.
    Raises: ShapeError when the student lacks a parameter of the teacher.
    """
    # Tied parameters appear once in the teacher's list; the student may hold them under any of their names.
    source = dict(student.named_parameters(remove_duplicate=False))
    targets = dict(teacher.named_parameters())
    if missing := sorted(targets.keys() - source.keys()):
        raise ShapeError(
            f"the student has no parameter {missing[0]!r} ({len(missing)} missing)",
            wanted="a teacher whose parameters all exist in the student under the same names",
            hint="make the teacher with copy.deepcopy(student)",
        )
    torch._foreach_lerp_(list(targets.values()), [source[name] for name in targets], 1.0 - momentum)


def ramp(alpha: float, step: int, steps: int) -> float:
    """Weight of the soft labels at a step: linear from 0 to `alpha` over `steps`, then constant.

    Args:
        alpha: final weight, [0, 1]; BLIP .4.
        step: optimiser steps taken so far, ≥ 0.
        steps: length of the ramp in steps (BLIP: two epochs); 0 is no ramp.
    """
    return alpha if step >= steps else alpha * step / steps
