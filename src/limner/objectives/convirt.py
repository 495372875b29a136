"""ConVIRT's contrastive loss: both directions, weighted apart, at a fixed temperature.

Implements: λ·ℓ(picture → text) + (1 − λ)·ℓ(text → picture), each the cross entropy of the pair in the batch.
Differs: pairs of all ranks are candidates.
Checked against: a double loop written from equations 2 to 4; half and half, it is CLIP's `info_nce`.

Source: Zhang et al. 2020 (arXiv 2010.00747), equations 2 to 4; λ = .75, τ = .1.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from limner import ranks


def convirt_loss(
    image_embed: Float[Tensor, "b e"],
    text_embed: Float[Tensor, "b e"],
    temperature: float = 0.1,
    weight: float = 0.75,
) -> Float[Tensor, ""]:
    """Contrast each picture with all texts, and each text with all pictures.

    Args:
        image_embed: this rank's unit vectors.
        text_embed: this rank's unit vectors; row r belongs to row r of `image_embed`.
        temperature: τ, divides cosines.
        weight: λ, of the direction from pictures to texts, [0, 1].
    Returns: the mean over this rank's pairs, nats; averaged over ranks, that of the whole batch.
    """
    images, texts = ranks.gathered(image_embed), ranks.gathered(text_embed)
    labels = torch.arange(len(image_embed), device=image_embed.device) + ranks.rank() * len(image_embed)
    to_text = functional.cross_entropy((image_embed @ texts.T).float() / temperature, labels)
    to_image = functional.cross_entropy((text_embed @ images.T).float() / temperature, labels)
    return weight * to_text + (1 - weight) * to_image
