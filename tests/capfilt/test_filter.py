"""Scores of pairs against the model's own forward pass, one pair at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from limner.capfilt.caption import image_tokens
from limner.capfilt.filter import look, score_images, score_pairs
from limner.checkpoint import Bundle
from limner.data.transforms import normalise
from limner.models.blip import BLIP

TEXTS = ["a red bus", "two fish left of an owl and a cat", "A cat!", "a", "three yellow stars and a moon"]
PICTURES = [0, 2, 1, 0, 2]


@pytest.fixture
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8))


def _slow(bundle: Bundle, image: np.ndarray, text: str) -> tuple[float, float]:
    """One pair through the whole model."""
    assert isinstance(bundle.model, BLIP)
    assert bundle.tokenizer is not None
    pixels = normalise(torch.from_numpy(image.copy()).permute(2, 0, 1)[None], bundle.image_spec)
    ids, mask = bundle.tokenizer.encode_batch([text])
    with torch.no_grad():
        out = bundle.model(pixels, ids, mask)
    cosine = float((out.image_embed @ out.text_embed.T).item())
    exponents = out.match_logits[0].double().exp()
    return float(exponents[1] / exponents.sum()), cosine


@pytest.mark.parametrize("batch_size", [1, 2, 64])
@pytest.mark.parametrize("sharing", ["all_but_self_attention", "none"])
def test_scores_are_the_models_own(
    make_bundle: Callable[..., Bundle], images: list[np.ndarray], batch_size: int, sharing: str
) -> None:
    bundle = make_bundle(3, sharing=sharing)
    seen = look(bundle, image_tokens(bundle, images))
    scores = score_pairs(bundle, seen, TEXTS, PICTURES, batch_size=batch_size)
    slow = [_slow(bundle, images[picture], text) for picture, text in zip(PICTURES, TEXTS, strict=True)]
    assert scores.itm == pytest.approx([itm for itm, _ in slow], abs=1e-5)
    assert scores.itc == pytest.approx([itc for _, itc in slow], abs=1e-5)
    assert np.ptp(scores.itm) > 0.01


def test_long_texts_are_cut_and_no_text_is_no_score(bundle: Bundle, images: list[np.ndarray]) -> None:
    seen = look(bundle, image_tokens(bundle, images))
    long = " ".join(["bus"] * 500)
    cut = score_pairs(bundle, seen, [long], [0], max_tokens=10)
    assert cut.itm == pytest.approx(score_pairs(bundle, seen, [" ".join(["bus"] * 8)], [0]).itm)
    assert score_pairs(bundle, seen, [], []) == ([], [])


def test_one_text_a_picture(bundle: Bundle, images: list[np.ndarray]) -> None:
    scores = score_images(bundle, images, TEXTS[:3])
    assert scores.itm == pytest.approx(
        [_slow(bundle, i, t)[0] for i, t in zip(images, TEXTS, strict=False)], abs=1e-5
    )
