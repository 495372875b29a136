"""Values that are handed out: frozen, plain, and comparable where that makes sense."""

from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest

from limner.errors import ConfigError, ShapeError
from limner.ready.results import Answer, Classification, ImageEmbeddings, Judgement, Match, TextEmbeddings


def test_they_are_plain_and_frozen() -> None:
    made = Classification("cat", 3, 0.5)
    assert asdict(made) == {"label": "cat", "index": 3, "probability": 0.5}
    for value, name in (
        (made, "label"),
        (Answer("two"), "text"),
        (Match(None, 0.1), "itm"),
        (Judgement(1), "true"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 1)


def test_similarity_is_the_cosine() -> None:
    pictures = ImageEmbeddings(np.array([[3, 4], [0, 2]], np.float32), joint=True)
    texts = TextEmbeddings(np.array([[0, 5], [1, 0], [-2, 0]], np.float32))
    np.testing.assert_allclose(pictures.similarity(texts), [[0.8, 0.6, -0.6], [1, 0, 0]], atol=1e-6)
    one = ImageEmbeddings(np.array([3, 4], np.float32), joint=True)
    np.testing.assert_allclose(one.similarity(texts), [0.8, 0.6, -0.6], atol=1e-6)
    assert one.similarity(TextEmbeddings(np.array([0, 1], np.float32))) == pytest.approx(0.8)
    features = ImageEmbeddings(np.array([[1, 0]], np.float32), joint=False)
    assert features.similarity(features) == pytest.approx(1)


def test_what_cannot_be_compared() -> None:
    features = ImageEmbeddings(np.ones((2, 3), np.float32), joint=False)
    with pytest.raises(ConfigError, match="features of pictures and vectors of texts"):
        features.similarity(TextEmbeddings(np.ones((1, 3), np.float32)))
    with pytest.raises(ShapeError, match="3 and of 4 numbers"):
        features.similarity(ImageEmbeddings(np.ones((1, 4), np.float32), joint=True))
