"""Draws, least squares and label equivalents equal their definitions."""

import numpy as np
import pytest
from scipy import stats

from limner.errors import DataError
from limner.evaluate.fewshot import draw, least_squares, repeats_interval, shots_worth

RNG = np.random.default_rng(2)


def test_a_draw_has_as_many_of_each_class_and_holds_the_smaller_ones() -> None:
    truth = RNG.integers(0, 4, 80)
    few, many = draw(truth, 2, 5), draw(truth, 6, 5)
    assert np.bincount(truth[many]).tolist() == [6] * 4
    assert set(few.tolist()) < set(many.tolist())
    assert len(set(many.tolist())) == 24
    assert draw(truth, 2, 6).tolist() != few.tolist()


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="that has 2"):
        draw(np.array([0, 0, 0, 1, 1]), 3, 0)


@pytest.mark.parametrize("count", [6, 40])
def test_least_squares_solves_the_normal_equations(count: int) -> None:
    train, test, truth = RNG.normal(size=(count, 9)), RNG.normal(size=(5, 9)), np.arange(count) % 3
    mean, std = train.mean(0), np.sqrt(((train - train.mean(0)) ** 2).mean(0)) + 1e-5
    x = np.array([[*((row - mean) / std), 100.0] for row in train])
    y = np.array([[1.0 if k == t else -1.0 for k in range(3)] for t in truth])
    weights = np.linalg.inv(x.T @ x + 1024 * np.eye(10)) @ x.T @ y
    wanted = [[*((row - mean) / std), 100.0] @ weights for row in test]
    np.testing.assert_allclose(least_squares(train, truth, test, 3), wanted, rtol=1e-6, atol=1e-9)


def test_least_squares_refuses_what_is_no_number() -> None:
    with pytest.raises(DataError, match="NaN"):
        least_squares(np.array([[np.nan], [1.0]]), np.array([0, 1]), np.ones((1, 1)), 2)


def test_worth_is_linear_in_the_logarithm() -> None:
    shots, curve = [1, 2, 4, 8, 16], [0.2, 0.3, 0.5, 0.6, 0.7]
    assert shots_worth(0.4, shots, curve) == (pytest.approx(2 * 2**0.5), "within")
    assert shots_worth(0.5, shots, curve) == (pytest.approx(4), "within")
    assert shots_worth(0.1, shots, curve) == (1.0, "below")
    assert shots_worth(0.2, shots, curve) == (1.0, "within")
    assert shots_worth(0.71, shots, curve) == (16.0, "above")


def test_a_curve_that_dips_is_crossed_where_it_first_reaches_the_score() -> None:
    assert shots_worth(0.35, [1, 2, 4, 8], [0.3, 0.4, 0.2, 0.5]) == (pytest.approx(2**0.5), "within")


def test_the_interval_is_students() -> None:
    values = [0.5, 0.6, 0.55, 0.7]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert repeats_interval(values) == (pytest.approx(low), pytest.approx(high))
    with pytest.raises(DataError):
        repeats_interval([0.5])
