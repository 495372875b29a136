"""Diversity and novelty against loops from the definitions."""

import numpy as np
import pytest

from limner.errors import DataError
from limner.evaluate.caption_diversity import diversity, self_bleu, unseen
from limner.evaluate.caption_metrics import bleu, bleu_counts

TEXTS = [
    "a dog runs on the beach",
    "a dog runs on the beach",
    "a dog runs in the park",
    "two cats",
    "a a a a dog",
    "猫 😀 café",
]


def test_self_bleu_equals_scoring_each_text_against_all_others() -> None:
    rng = np.random.default_rng(1)
    texts = [t.split() for t in TEXTS] + [
        rng.choice(["a", "dog", "cat", "on"], size=rng.integers(1, 9)).tolist() for _ in range(20)
    ]
    wanted = [
        bleu(bleu_counts([text], [[t for j, t in enumerate(texts) if j != i]]))[3]
        for i, text in enumerate(texts)
    ]
    np.testing.assert_allclose(self_bleu(texts), wanted, atol=1e-12)


def test_distinct_counts_different_ngrams() -> None:
    found = diversity(TEXTS)
    words = [w for t in TEXTS for w in t.replace("😀", "").split()]
    pairs = [
        tuple(w[i : i + 2]) for w in (t.replace("😀", "").split() for t in TEXTS) for i in range(len(w) - 1)
    ]
    assert found["distinct_1"] == len(set(words)) / len(words)
    assert found["distinct_2"] == len(set(pairs)) / len(pairs)
    assert found["vocabulary"] == len(set(words))
    assert found["different"] == 5 / 6
    assert found["length"] == pytest.approx(len(words) / 6)


def test_one_caption_and_an_empty_one() -> None:
    assert "self_bleu" not in diversity(["a cat"])
    assert diversity(["", ""])["distinct_1"] == 0
    with pytest.raises(DataError, match="no captions"):
        diversity([])


def test_unseen_compares_words_not_spelling() -> None:
    assert unseen(["A dog.", "a cat"], ["a dog", "a bird"]).tolist() == [0.0, 1.0]
