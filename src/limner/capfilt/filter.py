"""The filter: how well texts fit their pictures.

Two scores per pair (Li et al. 2022, BLIP, section 3.2): `itm`, the probability that the image-grounded
encoder calls the pair matched, and `itc`, the cosine of the two unimodal embeddings. Decisions are made from
`itm` alone, as in the paper; the cosine is kept to be read.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.capfilt.caption import image_tokens
from limner.checkpoint import Bundle
from limner.models.bert import CrossMemory


class PairScores(NamedTuple):
    """Scores of p (picture, text) pairs, in their order.

    Args:
        itm: probability that the pair matches, [0, 1]; None where the screen took it.
        itc: cosine of image and text embedding, [−1, 1].
    """

    itm: list[float | None]
    itc: list[float]


class Seen(NamedTuple):
    """What one pass of the filter's vision tower leaves of b pictures.

    Args:
        memory: `encoder_memory`, for matching.
        embed: unit image embeddings.
    """

    memory: CrossMemory
    embed: Float[Tensor, "b e"]


@torch.inference_mode()
def score_pairs(
    bundle: Bundle,
    seen: Seen,
    texts: Sequence[str],
    pictures: Sequence[int],
    *,
    max_tokens: int = 32,
    batch_size: int = 64,
    screen: float = -math.inf,
    spared: Sequence[bool] = (),
) -> PairScores:
    """Score texts against pictures that were already looked at.

    Texts are taken in order of length, so that each slice is padded to its own longest text and no further.

    Args:
        bundle: a BLIP, the filter.
        seen: of b pictures.
        texts: p texts, as written.
        pictures: for each text the row of its picture in `seen`.
        max_tokens: longer texts are cut.
        batch_size: pairs at a time.
        screen: pairs of a lower cosine are not shown to ITM.
        spared: p flags: pairs that are shown to it in any case; none when empty.
    """
    model, tokenizer = bundle.blip()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    itm, itc = np.full(len(texts), np.nan), np.zeros(len(texts))
    free = np.asarray(spared, bool)
    for start in range(0, len(order), batch_size):
        part = np.array(order[start : start + batch_size])
        ids, mask = (
            t.to(seen.embed.device) for t in tokenizer.encode_batch([texts[i] for i in part], max_tokens)
        )
        rows = torch.tensor([pictures[i] for i in part], device=seen.embed.device)
        cosine = (model.embed_text(ids, mask) * seen.embed[rows]).float().sum(-1)
        itc[part] = cosine.cpu().numpy()
        wanted = (itc[part] >= screen) | (free[part] if len(free) else False)
        if wanted.any():
            some = torch.from_numpy(wanted).to(seen.embed.device)
            logits = model.match(seen.memory.rows(rows[some]), ids[some], mask[some])
            itm[part[wanted]] = logits.float().softmax(-1)[:, 1].cpu().numpy()
    matched = [None if np.isnan(one) else one for one in itm.tolist()]
    return PairScores(matched, itc.tolist())


@torch.inference_mode()
def look(bundle: Bundle, tokens: Float[Tensor, "b n d"]) -> Seen:
    """Make of image tokens what the filter needs of them."""
    model, _ = bundle.blip()
    return Seen(model.encoder_memory(tokens), model.embed_image(tokens))


@torch.inference_mode()
def score_images(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    texts: Sequence[str],
    *,
    max_tokens: int = 32,
) -> PairScores:
    """Score one text per picture; the pictures already have the model's size."""
    seen = look(bundle, image_tokens(bundle, images))
    return score_pairs(bundle, seen, texts, range(len(images)), max_tokens=max_tokens)
