"""Visual n-grams: what a picture says of the n-grams of its caption, plainly or smoothed.

Implements: the naive loss, cross entropy of every dictionary n-gram of the caption among all; and the one
smoothed as Jelinek and Mercer do, p(word | context) = λ·p_obs(word | context) + (1 − λ)·p(word | shorter
context), down to single words.
Differs: p_obs(word | context) is a softmax among the dictionary's n-grams that go on from that context, so
that it is a distribution over words; an n-gram that is not in the dictionary has p_obs 0. A word that is not
in it is not counted.
Checked against: loops over rows, words and orders, in probabilities.

Source: Li et al. 2017 (arXiv 1612.09161), section 3.2; λ = .2.
"""

import math
from typing import Final, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

ABSENT: Final = -1
"""In place of an n-gram that the dictionary does not have."""

TOO_SHORT: Final = -2
"""In place of an n-gram that would begin before the caption does, and in padding."""


class Counted(NamedTuple):
    """Losses of rows, and of how many things each is the sum.

    Args:
        total: nats.
        counted: n-grams or words.
    """

    total: Float[Tensor, " b"]
    counted: Int[Tensor, " b"]


def naive_losses(logits: Float[Tensor, "b d"], ngrams: Int[Tensor, "b t n"]) -> Counted:
    """−Σ log p_obs(n-gram | picture) over the dictionary n-grams of each caption.

    Args:
        logits: a score a dictionary n-gram.
        ngrams: for each word the n-grams that end there, by order; `ABSENT` and `TOO_SHORT` are none.
    """
    log_p = logits.float().log_softmax(1)
    known = ngrams >= 0
    each = log_p.gather(1, ngrams.clamp(min=0).flatten(1)).view(ngrams.shape)
    return Counted(-(each * known).sum((1, 2)), known.sum((1, 2)))


def jelinek_mercer_losses(
    logits: Float[Tensor, "b d"],
    ngrams: Int[Tensor, "b t n"],
    prefixes: Int[Tensor, " d"],
    weight: float = 0.2,
) -> Counted:
    """−Σ log p(word | the words before it, picture) over the dictionary words of each caption.

    Args:
        logits: a score a dictionary n-gram.
        ngrams: as for `naive_losses`.
        prefixes: 1 + the number of the n-gram without its last word, 0 for single words.
        weight: λ, (0, 1).
    """
    log_p, known = word_log_probabilities(logits, ngrams, prefixes, weight), ngrams[..., 0] >= 0
    return Counted(-(log_p * known).sum(1), known.sum(1))


def word_log_probabilities(
    logits: Float[Tensor, "b d"],
    ngrams: Int[Tensor, "b t n"],
    prefixes: Int[Tensor, " d"],
    weight: float = 0.2,
) -> Float[Tensor, "b t"]:
    """log p(word | the words before it, picture); of no meaning where the word is not in the dictionary."""
    observed = _continuations(logits.float(), prefixes)
    each = observed.gather(1, ngrams.clamp(min=0).flatten(1)).view(ngrams.shape)
    each = each.masked_fill(ngrams < 0, -torch.inf)
    log_p = each[..., 0].masked_fill(ngrams[..., 0] < 0, 0.0)
    for order in range(1, ngrams.shape[2]):
        smoothed = torch.logaddexp(each[..., order] + math.log(weight), log_p + math.log(1 - weight))
        log_p = torch.where(ngrams[..., order] == TOO_SHORT, log_p, smoothed)
    return log_p


def phrase_scores(
    logits: Float[Tensor, "b d"],
    phrases: Int[Tensor, "k t n"],
    prefixes: Int[Tensor, " d"],
    weight: float = 0.2,
) -> Float[Tensor, "b k"]:
    """How well names of classes fit pictures: mean log p of their dictionary words, −∞ without any.

    Args:
        logits: a score a dictionary n-gram.
        phrases: n-grams of each name, as for `naive_losses`.
        prefixes: see `jelinek_mercer_losses`.
        weight: λ, (0, 1).
    Source: the paper's zero-shot transfer; the mean, not the sum, keeps long names from losing to short ones.
    """
    columns = []
    for phrase in phrases:
        spread = phrase.expand(len(logits), *phrase.shape)
        losses = jelinek_mercer_losses(logits, spread, prefixes, weight)
        mean = -losses.total / losses.counted.clamp(min=1)
        columns.append(mean.masked_fill(losses.counted == 0, -torch.inf))
    return torch.stack(columns, 1)


def _continuations(logits: Float[Tensor, "b d"], prefixes: Int[Tensor, " d"]) -> Float[Tensor, "b d"]:
    """Log-softmax of each n-gram among those with the same words before its last."""
    groups = prefixes.expand_as(logits)
    room = len(logits), logits.shape[1] + 1
    least = torch.finfo(logits.dtype).min
    top = torch.full(room, least, device=logits.device).scatter_reduce(1, groups, logits.detach(), "amax")
    shifted = logits - top.gather(1, groups)
    sums = torch.zeros(room, device=logits.device).scatter_add(1, groups, shifted.exp())
    return shifted - sums.gather(1, groups).log()
