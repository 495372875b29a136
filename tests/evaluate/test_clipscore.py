"""CLIPScore and RefCLIPScore against a loop from the paper; the ITM score is the matching probability."""

import numpy as np
import pytest

from limner.checkpoint import Bundle
from limner.evaluate.clipscore import clip_scores, harmonic, itm_scores
from limner.evaluate.matching import match_logits
from limner.evaluate.pictures import embed_images, embed_texts

FOUND = ["an owl", "two red hearts", "there are three fish"]
TRUE = [["an owl", "an owl"], ["a cat"], ["a bus", "two fish", "an apple"]]


def test_scores_equal_the_equations(bundle: Bundle, images) -> None:
    found = clip_scores(bundle, images[:3], FOUND, TRUE, prefix="a photo ", batch_size=2)
    pictures = embed_images(bundle, images[:3])
    for i in range(3):
        caption, *true = embed_texts(bundle, [f"a photo {t}" for t in (FOUND[i], *TRUE[i])])
        clip = 2.5 * max(float(pictures[i] @ caption), 0)
        best = max(max(float(caption @ t), 0) for t in true)
        assert found.clip[i] == pytest.approx(clip, abs=1e-6)
        assert found.ref_clip[i] == pytest.approx(2 * clip * best / (clip + best) if clip else 0, abs=1e-6)


def test_the_harmonic_mean_with_nothing_is_nothing() -> None:
    assert harmonic(np.array([0.0, 0.0, 2.0]), np.array([0.0, 1.0, 1.0])).tolist() == pytest.approx(
        [0, 0, 4 / 3]
    )


def test_the_itm_score_is_the_probability_of_the_head(bundle: Bundle, images) -> None:
    found = itm_scores(bundle, images[:3], FOUND, batch_size=2)
    for i in range(3):
        (logits,) = match_logits(bundle, images[i : i + 1], [[FOUND[i]]])
        wanted = np.exp(logits[0]) / np.exp(logits[0]).sum()
        assert found[i] == pytest.approx(wanted[1], abs=1e-5)
