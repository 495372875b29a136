"""Matches and statements about a batch of pictures whose tokens are at hand."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from limner.checkpoint import Bundle
from limner.data.tokenizers import WordPiece
from limner.evaluate.pictures import MAX_TOKENS, device_of, texts_by_length
from limner.models.bert import CrossMemory
from limner.models.blip import BLIP
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.ready.abilities import has_joint_space
from limner.ready.results import Match
from limner.ready.towers import image_vectors, text_vectors


def matches(
    bundle: Bundle,
    pixels: Float[Tensor, "b 3 y x"],
    texts: Sequence[str],
    rows: Sequence[int],
    batch_size: int,
) -> list[Match]:
    """How well each text fits its picture, by as many of the two ways as the model has.

    Args:
        bundle: a CLIP, or a BLIP with the head itm or itc.
        pixels: of b pictures, `normed`, of the model's size, device and dtype.
        texts: n of them.
        rows: for each text its picture, [0, b).
        batch_size: texts at a time.
    """
    model = bundle.model
    itm: Sequence[float | None] = [None] * len(texts)
    itc = itm
    tokens = pixels[:0]
    if isinstance(model, BLIP):
        tokens = model.encode_image(pixels)
        if "itm" in model.config.heads:
            memory = model.encoder_memory(tokens)
            itm = _match_probabilities(bundle, memory, texts, rows, batch_size).tolist()
    if has_joint_space(bundle):
        vectors = model.embed_image(tokens) if isinstance(model, BLIP) else image_vectors(model, pixels)
        itc = (vectors.cpu()[list(rows)] * text_vectors(bundle, texts, batch_size)).sum(1).tolist()
    return [Match(joint, cosine) for joint, cosine in zip(itm, itc, strict=True)]


def _match_probabilities(
    bundle: Bundle, memory: CrossMemory, texts: Sequence[str], rows: Sequence[int], batch_size: int
) -> Float[Tensor, " n"]:
    model, picture = bundle.model, torch.tensor(rows)
    assert isinstance(model, BLIP)
    found = torch.empty(len(texts))
    for places, ids, mask in texts_by_length(bundle, texts, batch_size):
        logits = model.match(memory.rows(picture[places].to(ids.device)), ids, mask)
        found[places] = logits.float().softmax(1)[:, 1].cpu()
    return found


def truths(
    bundle: Bundle,
    left: Float[Tensor, "1 n d"],
    right: Float[Tensor, "1 n d"],
    statements: Sequence[str],
) -> list[float]:
    """Probability that each statement is true of two pictures.

    Args:
        bundle: a `BLIPNLVR2`.
        left: tokens of the first picture.
        right: of the second.
        statements: n of them.
    """
    model = bundle.model
    assert isinstance(model, BLIPNLVR2)
    ids, mask = _encoded(bundle, statements, min(MAX_TOKENS, model.config.text.max_positions))
    probabilities: list[float] = (
        model.judge(model.memory(left, right), ids, mask).float().softmax(1)[:, 1].tolist()
    )
    return probabilities


def _encoded(
    bundle: Bundle, texts: Sequence[str], longest: int
) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    assert isinstance(bundle.tokenizer, WordPiece)
    ids, mask = bundle.tokenizer.encode_batch(texts, longest)
    device = device_of(bundle)
    return ids.to(device), mask.to(device)
