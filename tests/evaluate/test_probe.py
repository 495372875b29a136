"""The sweep equals scikit-learn's, strength by strength; the fit around a prior of zero equals it too."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from limner.errors import DataError
from limner.evaluate.probe import fit, fit_around, sweep, sweep_probe


def blobs(count: int, classes: int, seed: int, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % classes
    centres = np.random.default_rng(7).normal(size=(classes, width))
    return (centres[truth] + rng.normal(size=(count, width))).astype(np.float32), truth


@pytest.mark.parametrize("classes", [2, 4])
def test_a_fit_is_scikit_learns(classes: int) -> None:
    x, truth = blobs(60, classes, 0)
    peer = LogisticRegression(C=0.5, max_iter=1000).fit(x, truth)
    found = fit(x, truth, classes, 0.5)
    np.testing.assert_array_equal(found.scores(x).argmax(1), peer.predict(x))
    assert found.converged
    exp = np.exp(found.scores(x))
    np.testing.assert_allclose(exp / exp.sum(1, keepdims=True), peer.predict_proba(x), atol=1e-6)


def test_a_class_without_samples_is_never_named() -> None:
    x, truth = blobs(40, 3, 0)
    found = fit(x, truth + (truth == 2), 5, 1.0)  # 0, 1, 3
    assert set(found.scores(x).argmax(1).tolist()) <= {0, 1, 3}


def test_the_sweep_ends_at_the_best_of_eight_a_decade_where_the_curve_has_one_top() -> None:
    for top in (-5.6, -1.3, 0.0, 3.4, 6.0):
        found = sweep(lambda log, top=top: (-abs(log - top), True))
        grid = np.arange(-48, 49) / 8
        assert found.log_penalty == grid[np.argmin(np.abs(grid - top))]
        assert len(found.tried) <= 15
        assert found.c == pytest.approx(10**-found.log_penalty)


def test_among_equals_the_strongest_penalty_wins_and_stops_are_counted() -> None:
    found = sweep(lambda log: (1.0, log > 0))
    assert found.log_penalty == 6
    assert found.unfinished == 4


def test_each_accuracy_of_the_sweep_is_scikit_learns() -> None:
    x, truth = blobs(60, 3, 0)
    val, val_truth = blobs(45, 3, 1)
    found = sweep_probe(x, truth, val, val_truth, 3)
    for log, accuracy in found.tried.items():
        peer = LogisticRegression(C=10.0**-log, max_iter=1000).fit(x, truth)
        assert accuracy == pytest.approx(peer.score(val, val_truth))
    assert found.tried[found.log_penalty] == max(found.tried.values())


def test_around_nothing_it_is_plain_logistic_regression() -> None:
    x, truth = blobs(60, 4, 0)
    plain, around = fit(x, truth, 4, 0.3), fit_around(x, truth, np.zeros((4, 5)), 0.3)
    np.testing.assert_allclose(around.weights, plain.weights - plain.weights.mean(0), atol=2e-3)
    np.testing.assert_allclose(around.bias - around.bias.mean(), plain.bias - plain.bias.mean(), atol=2e-3)


def test_a_strong_penalty_leaves_the_prior() -> None:
    x, truth = blobs(12, 3, 0)
    prior = np.random.default_rng(0).normal(size=(3, 5))
    np.testing.assert_allclose(fit_around(x, truth, prior, 1e-7).weights, prior, atol=1e-4)


def test_one_class_and_what_is_no_number_are_refused() -> None:
    x, truth = blobs(10, 2, 0)
    with pytest.raises(DataError, match="one class"):
        fit(x, truth * 0, 2, 1.0)
    x[3, 1] = np.nan
    for call in (lambda: fit(x, truth, 2, 1.0), lambda: fit_around(x, truth, np.zeros((2, 5)), 1.0)):
        with pytest.raises(DataError, match="NaN"):
            call()
