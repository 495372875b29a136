"""Second look: the best hits are scored by image-text matching, which reads text and picture together.

Source: Li et al. 2022, BLIP (arXiv 2201.12086), retrieval: the order is by ITM logit plus raw cosine.
"""

from collections.abc import Sequence

import torch

from limner.checkpoint import Bundle
from limner.search.index import Hit, image_tokens


@torch.inference_mode()
def rerank(bundle: Bundle, text: str, hits: Sequence[Hit], *, batch_size: int = 32) -> list[Hit]:
    """Order hits by how well text and picture match.

    Args:
        bundle: a BLIP; the one that found the hits.
        text: what was looked for.
        hits: found by `search`.
        batch_size: pictures at a time.
    Returns: the same hits with `matched`, best first; those whose picture cannot be read come last.
    """
    scored = [
        pair
        for i in range(0, len(hits), batch_size)
        for pair in _score(bundle, text, hits[i : i + batch_size])
    ]
    return [hit for _, hit in sorted(scored, key=lambda pair: -pair[0])]


def _score(bundle: Bundle, text: str, hits: Sequence[Hit]) -> list[tuple[float, Hit]]:
    model, tokenizer = bundle.blip()
    tokens, readable = image_tokens(bundle, [hit.image for hit in hits])
    scored = {i: (float("-inf"), hit) for i, hit in enumerate(hits)}
    if tokens is not None:
        ids, mask = (t.to(tokens.device) for t in tokenizer.encode_batch([text] * len(readable)))
        logits = model.match(model.encoder_memory(tokens), ids, mask).float()
        for i, logit, matched in zip(
            readable, logits[:, 1].tolist(), logits.softmax(-1)[:, 1].tolist(), strict=True
        ):
            scored[i] = (logit + hits[i].cosine, hits[i]._replace(matched=matched))
    return list(scored.values())
