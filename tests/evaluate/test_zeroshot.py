"""The classifier that texts make equals clip-benchmark's loop; thresholds equal a search over all."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from limner.errors import DataError
from limner.evaluate.zeroshot import best_threshold, class_weights, pooled, probabilities, unit

RNG = np.random.default_rng(1)


def encode(texts: list[str]) -> np.ndarray:
    return np.stack([np.random.default_rng(sum(map(ord, text))).normal(size=6) * len(text) for text in texts])


def test_the_classifier_equals_a_loop_over_classes() -> None:
    names, templates = ["cat", "dog", "an owl"], ["a {}", "{}", "the {} of {}"]
    loop = []
    for name in names:
        each = encode([template.replace("{}", name) for template in templates])
        mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(0)
        loop.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(class_weights(encode, names, templates), loop)


def test_equal_texts_are_encoded_once() -> None:
    asked: list[str] = []

    def counted(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return encode(texts)

    found = class_weights(counted, ["cat", "cat", "dog"], ["a {}"])
    assert asked == ["a cat", "a dog"]
    np.testing.assert_array_equal(found[0], found[1])


def test_without_the_first_norm_the_ensemble_would_be_another() -> None:
    vectors = {"a x": np.array([2.0, 0.0]), "b x": np.array([0.0, 1.0])}
    found = class_weights(lambda texts: np.stack([vectors[t] for t in texts]), ["x"], ["a {}", "b {}"])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5]])


def test_probabilities_are_a_softmax_of_scaled_cosines() -> None:
    images, weights = unit(RNG.normal(size=(4, 5))), unit(RNG.normal(size=(3, 5)))
    raw = np.exp(10 * images @ weights.T)
    np.testing.assert_allclose(probabilities(images, weights, 10.0), raw / raw.sum(1, keepdims=True))


def test_a_superclass_has_the_probability_of_its_classes() -> None:
    found = pooled(np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), np.array([0, 1, 0]))
    np.testing.assert_allclose(found, [[0.8, 0.2], [0.7, 0.3]])


@pytest.mark.parametrize("levels", [1000, 4, 1])
def test_the_threshold_is_the_best_of_all(levels: int) -> None:
    known = RNG.random(70) < 0.5
    sure = np.round((RNG.random(70) + 0.4 * known) * levels) / levels
    best = best_threshold(sure, known)
    cuts = [-np.inf, *np.unique(sure), np.inf]
    most = max(balanced_accuracy_score(known, sure >= cut) for cut in cuts)
    assert balanced_accuracy_score(known, sure >= best) == pytest.approx(most)


def test_a_threshold_needs_both_kinds() -> None:
    with pytest.raises(DataError, match="3 of 3"):
        best_threshold(np.ones(3), np.ones(3, bool))
