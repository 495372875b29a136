"""Bags of words: which words a caption has, whatever their order, as targets of a picture.

Implements: cross entropy with the caption's words as equally likely targets (Joulin et al. 2016; VirTex's
token classification), and one sigmoid a word (multi-label). A caption without a word costs nothing.
Checked against: loops over rows and words.

Source: Joulin et al. 2016 (arXiv 1511.02251); Desai & Johnson 2021 (arXiv 2006.06666), section 4.2.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def bags(words: Int[Tensor, "b t"], size: int, ignored: Sequence[int] = ()) -> Float[Tensor, "b k"]:
    """Which words each row has: 1 where it has one, however often, else 0.

    Args:
        words: numbers of words; negative ones are none.
        size: k, how many words there are.
        ignored: words that do not count, such as padding.
    """
    held = torch.zeros(len(words), size + 1, device=words.device)
    held.scatter_(1, torch.where(words < 0, size, words), 1.0)
    held[:, list(ignored)] = 0.0
    return held[:, :size]


def bag_losses(
    logits: Float[Tensor, "b k"],
    bags: Float[Tensor, "b k"],
    form: Literal["softmax", "sigmoid"] = "softmax",
) -> Float[Tensor, " b"]:
    """The loss of each row, nats; 0 where the bag is empty.

    Args:
        logits: a score a word.
        bags: 1 for the row's words, else 0.
        form: "softmax" spreads the target evenly over the words, "sigmoid" asks each word by itself and takes
            the sum.
    """
    held = bags.sum(1)
    if form == "softmax":
        hit = (bags * logits.float().log_softmax(1)).sum(1)
        return -hit / held.clamp(min=1.0)
    each = functional.binary_cross_entropy_with_logits(logits.float(), bags, reduction="none").sum(1)
    return each * (held > 0)
