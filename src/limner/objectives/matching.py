"""Image–text matching: does this text belong to this picture? Trained on hard negatives of the batch.

Implements: for each text one negative picture and for each picture one negative text, drawn with probability
proportional to softmax(similarity) + 1e-4 among rows of other pictures; cross entropy over 3b pairs.
Differs: similarities of the student alone weigh both directions (BLIP's retrieval code; its pre-training code
has the teacher's features on the other side); a row with no permitted negative is left out, it does not fail.
Checked against: loops written from the definition, and the drawn frequencies over 10⁴ draws.

Source: Li et al. 2021 (ALBEF, arXiv 2107.07651), section 3.2; Li et al. 2022 (BLIP, arXiv 2201.12086),
section 3.2.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

LEFT_OUT = -100
"""The label of a pair that `itm_loss` does not count."""

_FLOOR = 1e-4


@torch.no_grad()
def hard_negatives(
    similarity: Float[Tensor, "b b"], same: Bool[Tensor, "b b"], generator: torch.Generator
) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
    """Draw a picture that fools each text and a text that fools each picture.

    Args:
        similarity: row: picture, column: text; divided by the temperature.
        same: True where row and column show the same picture; the diagonal counts as True whatever is given.
        generator: source of the draws, on the same device.
    Returns: `image_for_text` and `text_for_image`. A row that has no permitted negative (a batch of one, or
        all one picture) gets its own index; `itm_labels` leaves it out.
    Source: BLIP section 3.2, "hard negative mining".
    """
    forbidden = same | torch.eye(len(same), dtype=torch.bool, device=same.device)
    text_for_image = _draw(similarity, forbidden, generator)
    image_for_text = _draw(similarity.T, forbidden.T, generator)
    return image_for_text, text_for_image


def _draw(
    similarity: Float[Tensor, "b b"], forbidden: Bool[Tensor, "b b"], generator: torch.Generator
) -> Int[Tensor, " b"]:
    shares = similarity.float().softmax(dim=1).nan_to_num(nan=0.0)  # the loss is to tell of NaN, not the draw
    weights = (shares + _FLOOR).masked_fill(forbidden, 0.0)
    alone = forbidden.all(dim=1)
    weights.diagonal().masked_fill_(alone, 1.0)
    return torch.multinomial(weights, 1, generator=generator).squeeze(1)


def itm_labels(image_for_text: Int[Tensor, " b"], text_for_image: Int[Tensor, " b"]) -> Int[Tensor, " n"]:
    """Labels of the 3b pairs in BLIP's order: pairs, (picture, hard text), (hard picture, text).

    Args:
        image_for_text: from `hard_negatives`.
        text_for_image: from `hard_negatives`.
    Returns: 1 for the pairs, 0 for the negatives, `LEFT_OUT` where a row had no permitted negative.
    """
    own = torch.arange(len(image_for_text), device=image_for_text.device)
    negatives = torch.cat([text_for_image == own, image_for_text == own]).long() * LEFT_OUT
    return torch.cat([torch.ones_like(own), negatives])


def itm_loss(logits: Float[Tensor, "n 2"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean cross entropy of the two-way match head, class 1 = matched.

    Args:
        logits: of the match head.
        labels: 1, 0 or `LEFT_OUT`; at least one must count.
    """
    return functional.cross_entropy(logits.float(), labels, ignore_index=LEFT_OUT)
