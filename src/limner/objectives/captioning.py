"""Language modelling: predict each next token of a text, given the picture and the tokens before it.

Implements: BLIP's LM loss (label smoothing .1, shift by one, padding and prompt not counted, mean of what
is counted).
Differs: only counted positions meet the vocabulary. A caller that has the hidden states selects them with
`lm_targets` before its vocabulary projection, which is most of the decoder's memory and time.
Checked against: a loop over rows, tokens and vocabulary written from the definition.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 3.2; Szegedy et al. 2016 (arXiv 1512.00567),
section 7.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


class LMTargets(NamedTuple):
    """What a decoder is asked to predict.

    Args:
        keep: True where the position's output is counted, `Bool[Tensor, "b t"]`; the last column never is.
        targets: the next token of each kept position, in the order of `hidden[keep]`, `Int[Tensor, " n"]`.
    """

    keep: Tensor
    targets: Tensor


def lm_targets(
    ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], prompt_lengths: Int[Tensor, " b"] | None = None
) -> LMTargets:
    """Find the positions whose next token is counted, and those tokens.

    Args:
        ids: token ids; token 0 starts the text and is never predicted.
        mask: True at real tokens.
        prompt_lengths: leading tokens of each row that are given, not predicted (start token included).
    """
    counted = mask[:, 1:]
    if prompt_lengths is not None:
        positions = torch.arange(1, ids.shape[1], device=ids.device)
        counted = counted & (positions >= prompt_lengths[:, None])
    keep = torch.zeros_like(mask)
    keep[:, :-1] = counted
    return LMTargets(keep, ids[:, 1:][counted])


def token_loss(
    logits: Float[Tensor, "n v"], targets: Int[Tensor, " n"], label_smoothing: float = 0.1
) -> Float[Tensor, ""]:
    """Mean smoothed cross entropy of tokens; exactly 0, with zero gradients, when there are none.

    Args:
        logits: over the vocabulary, one row a counted token.
        targets: token ids.
        label_smoothing: ε: the target is (1 − ε)·one-hot + ε/v, [0, 1).
    """
    if len(targets) == 0:
        return logits.float().sum()
    return functional.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)


def lm_loss(
    logits: Float[Tensor, "b t v"],
    ids: Int[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    label_smoothing: float = 0.1,
    prompt_lengths: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """BLIP's LM loss of full logits, nats per counted token.

    Args:
        logits: position t predicts token t + 1.
        ids: token ids, right padded.
        mask: True at real tokens.
        label_smoothing: see `token_loss`; BLIP .1.
        prompt_lengths: see `lm_targets`.
    Source: BLIP section 3.2.
    """
    keep, targets = lm_targets(ids, mask, prompt_lengths)
    return token_loss(logits[keep], targets, label_smoothing)
