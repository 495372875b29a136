"""Do captions fit their pictures, as a model sees it? CLIPScore, RefCLIPScore and the ITM score.

Implements: CLIPScore = 2.5 · max(cos, 0) of picture and caption; RefCLIPScore, its harmonic mean with the
    best max(cos, 0) of caption and references; by any CLIP, or a BLIP with the head itc. The score of
    BLIP's matching head, a probability.
Differs: the paper's prefix "A photo depicts" is put before captions and references unless told otherwise; its
    model is CLIP ViT-B/32, so numbers of other models compare with each other alone.
Checked against: a loop from the paper's equations.

Source: Hessel et al. 2021 (arXiv 2104.08718), section 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from limner.checkpoint import Bundle
from limner.evaluate.matching import match_logits, match_probability
from limner.evaluate.pictures import Progress, embed_images, embed_texts

WEIGHT = 2.5
PREFIX = "A photo depicts "


class ClipScores(NamedTuple):
    """One number a picture.

    Args:
        clip: CLIPScore, [0, 2.5].
        ref_clip: RefCLIPScore, [0, 1.43].
    """

    clip: Float[np.ndarray, " n"]
    ref_clip: Float[np.ndarray, " n"]


def clip_scores(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    found: Sequence[str],
    references: Sequence[Sequence[str]],
    prefix: str = PREFIX,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> ClipScores:
    """Score captions by the cosines of a model.

    Args:
        bundle: a CLIP, or a BLIP with the head itc.
        images: u8 pixels at the model's size.
        found: one caption a picture.
        references: one or more true captions a picture.
        prefix: put before every text.
        batch_size: pictures at a time.
        progress: counts pictures.
    Raises: CheckpointError when the model compares no pictures with texts.
    """
    pictures = embed_images(bundle, images, batch_size, progress)
    captions = embed_texts(bundle, [prefix + text for text in found])
    true = embed_texts(bundle, [prefix + text for texts in references for text in texts])
    owner = np.repeat(np.arange(len(found)), [len(texts) for texts in references])
    best = np.zeros(len(found))
    np.maximum.at(best, owner, (captions[owner] * true).sum(1))
    clip = WEIGHT * np.maximum((pictures * captions).sum(1).astype(np.float64), 0)
    return ClipScores(clip, harmonic(clip, best))


def harmonic(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Harmonic mean of two numbers ≥ 0 each; 0 where one is 0."""
    both = np.maximum(one + other, np.finfo(np.float64).tiny)
    mean: np.ndarray = 2 * one * other / both
    return mean


def itm_scores(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    found: Sequence[str],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Float[np.ndarray, " n"]:
    """Probability that each caption belongs to its picture, by a BLIP's matching head.

    Args:
        bundle: a BLIP with the heads itc and itm.
        images: u8 pixels at the model's size.
        found: one caption a picture.
        batch_size: pictures at a time.
        progress: counts pictures.
    """
    logits = match_logits(bundle, images, [[text] for text in found], batch_size, progress)
    return match_probability(np.concatenate(logits)).astype(np.float64)
