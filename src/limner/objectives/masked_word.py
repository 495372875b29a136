"""Masked words: choose one concept of each caption, and ask for it.

Implements: ICMLM's choice of one content word a caption, each as likely, and the cross entropy over concepts.
A caption without a concept is not counted.
Checked against: a loop over rows; shares of the choice, counted.

Source: Sariyildiz et al. 2020 (arXiv 2008.01392), section 3.2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

NONE = -1
"""In place of a concept where there is none."""


class Choice(NamedTuple):
    """The word of each caption that is to be masked.

    Args:
        place: of its token; 0 where there is none.
        concept: its number, `NONE` where there is none.
    """

    place: Int[Tensor, " b"]
    concept: Int[Tensor, " b"]


def choose_word(concepts: Int[Tensor, "b t"], draws: Float[Tensor, " b"]) -> Choice:
    """Choose one concept of each row, each place as likely as another.

    Args:
        concepts: number of the concept at each place, `NONE` where there is none.
        draws: one number a row, [0, 1).
    """
    there = concepts >= 0
    number = there.cumsum(1)  # counts from 1
    wanted = (draws * number[:, -1]).long() + 1
    place = (there & (number == wanted[:, None])).int().argmax(1)
    return Choice(place, concepts.gather(1, place[:, None])[:, 0])


def masked_word_losses(logits: Float[Tensor, "b k"], concept: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Cross entropy of each row's masked word, nats; 0 where there is none.

    Args:
        logits: a score a concept.
        concept: of `choose_word`.
    """
    losses: Tensor = functional.cross_entropy(logits.float(), concept, ignore_index=NONE, reduction="none")
    return losses


def with_mask(ids: Int[Tensor, "b t"], choice: Choice, mask_id: int) -> Int[Tensor, "b t"]:
    """The texts with their chosen word replaced.

    Args:
        ids: tokens.
        choice: rows without a concept are left as they are.
        mask_id: what stands in its place.
    """
    at = torch.arange(ids.shape[1], device=ids.device) == choice.place[:, None]
    return ids.masked_fill(at & (choice.concept >= 0)[:, None], mask_id)
